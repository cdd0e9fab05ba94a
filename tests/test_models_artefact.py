"""The artefact: exact both ways, canonical, read by field name, and one clear line for whatever is wrong with it."""

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from checks import FIRST, clusters, entries, names, raws, segments
from hypothesis import given
from hypothesis import strategies as st

from models.artefact import SCHEMA, Artefact, ArtefactError, Version, decode, encode
from models.mix import EXPERTS
from models.model import NEEDED, Model, fit_history
from models.offers import Offers
from models.rfm import Quintiles
from models.rows import ROW

SMALL = Artefact(
    trained_through=10_227,
    horizon=30,
    model={"x": [0.1, -0.0, 1e-300, 2**53 + 1]},
    metrics={"ngini": 0.5, "Verlören": 1},
    metrics_cut=10_100,
    fitted_on=10_220,
)
PAYLOAD = (
    b'{"fitted_on":10220,"horizon":30,"metrics":{"Verl\\u00f6ren":1,"ngini":0.5},"metrics_cut":10100,'
    b'"model":{"x":[0.1,-0.0,1e-300,9007199254740993]},"trained_through":10227}'
)
KEPT = Path(__file__).parent / "data" / "artefact_3ee150a.json"  # as commit 3ee150a wrote it
DOCUMENT = b'{"schema":1,"sha256":"' + hashlib.sha256(PAYLOAD).hexdigest().encode() + b'","payload":' + PAYLOAD + b"}\n"


def fitted() -> Model:
    days = [(day, names(), entries(day)) for day in range(FIRST + 1, FIRST + 13)]
    return fit_history(days, FIRST + 12, segments(), clusters())


def sealed(payload: dict[str, Any]) -> bytes:
    text = json.dumps(payload)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f'{{"schema":{SCHEMA},"sha256":"{digest}","payload":{text}}}'.encode()


def test_literal_bytes_both_ways() -> None:
    assert encode(SMALL) == DOCUMENT
    assert decode(DOCUMENT) == SMALL
    assert SMALL.schema == 1


def test_a_model_passes_through_to_the_bit() -> None:
    model = fitted()
    document = encode(Artefact.of(model, {"ngini": 0.7}, FIRST))
    restored = decode(document).restored()
    assert restored.snapshot() == model.snapshot()
    assert encode(decode(document)) == document
    for ours, theirs in zip(model.predict_many(raws(300)), restored.predict_many(raws(300)), strict=True):
        assert ours.tobytes() == theirs.tobytes()


def test_it_says_what_it_carries() -> None:
    artefact = Artefact.of(fitted(), {"ngini": 0.7}, FIRST)
    assert (artefact.trained_through, artefact.horizon, artefact.metrics_cut) == (FIRST + 12, 30, FIRST)
    model, figures = artefact.restored(), artefact.figures
    weights = figures.pop("weights")
    assert figures == {"ngini": 0.7, "examples": model.examples}
    assert list(weights) == ["demand", "orders", "p_buy"]
    shares = dict(zip(EXPERTS, model.spend_mix.weights.shares.tolist(), strict=True))
    assert weights["demand"] == pytest.approx(shares, abs=1e-6)


def test_what_was_measured_stays_when_the_model_learns_on() -> None:
    artefact = Artefact.of(fitted(), {"ngini": 0.7}, FIRST)
    model = artefact.restored()
    model.learn_day(FIRST + 13, names(), entries(FIRST + 13))
    later = artefact.after(model)
    assert (later.trained_through, later.metrics, later.metrics_cut) == (FIRST + 13, {"ngini": 0.7}, FIRST)
    assert later.fitted_on == later.as_of == FIRST + 12
    assert decode(encode(later)).restored().snapshot() == model.snapshot()
    assert artefact.trained_through == FIRST + 12


@given(st.integers(0, len(DOCUMENT) - 1), st.integers(1, 255))
def test_no_changed_byte_goes_unseen(at: int, change: int) -> None:
    damaged = bytearray(DOCUMENT)
    damaged[at] ^= change
    if bytes(damaged).strip(b" \t\r\n") == DOCUMENT.strip():  # white space around it
        assert decode(bytes(damaged)) == SMALL
    else:
        with pytest.raises(ArtefactError, match=r"^artefact: .*run `offline fit` again"):
            decode(bytes(damaged))


@pytest.mark.parametrize("cut", [0, 1, 40, len(DOCUMENT) // 2, len(DOCUMENT) - 2])
def test_a_document_cut_short_is_refused(cut: int) -> None:
    with pytest.raises(ArtefactError, match="damaged"):
        decode(DOCUMENT[:cut])


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (b'{"schema":2,"something":"new"}', "schema 2, but this program reads schema 1"),
        (DOCUMENT.replace(b'"schema":1', b'"schema":0'), "schema 0, but this program reads schema 1"),
        (b"PAR1", "damaged"),
        (b"\xff\xfe", "damaged"),
        (b"{}", "damaged"),
        (b'{"more":' + b"[" * 3000, "damaged"),
        (sealed({"horizon": 30, "model": {}}), "not the fields of schema 1 .*`trained_through`.*run `offline fit`"),
        (sealed({"trained_through": 1, "model": {}}), "not the fields of schema 1 .*`horizon`.*run `offline fit`"),
        (sealed({"trained_through": 1, "horizon": 30}), "not the fields of schema 1 .*`model`.*run `offline fit`"),
        (sealed(msgspec.structs.asdict(SMALL) | {"horizon": "30"}), "not the fields of schema 1"),
    ],
)
def test_another_schema_or_file_is_one_clear_line(document: bytes, said: str) -> None:
    with pytest.raises(ArtefactError, match=said) as caught:
        decode(document)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"bytes"])
def test_what_json_cannot_carry_is_not_written(value: Any) -> None:
    with pytest.raises(ArtefactError, match="cannot be written exactly"):
        encode(msgspec.structs.replace(SMALL, metrics={"x": value}))


def test_a_model_of_another_program_is_refused_in_one_line() -> None:
    state = fitted().snapshot()
    state["spend"]["names"] = ["r30"]
    for broken in (state, {"day": 3}):
        with pytest.raises(ArtefactError, match="of another program") as caught:
            msgspec.structs.replace(SMALL, model=broken).restored()
        assert "\n" not in str(caught.value)


# ---- what other forms of this program wrote --------------------------------------------------------------------------
def test_a_document_of_3ee150a_is_read_for_its_numbers_and_refused_as_a_model() -> None:
    """A publish gives none of its clusters' numbers again; what serves must be fitted anew."""
    payload = json.loads(KEPT.read_bytes())["payload"]
    artefact = decode(KEPT.read_bytes())
    assert msgspec.structs.asdict(artefact) == {"fitted_on": None} | {
        name: payload[name] for name in ("trained_through", "horizon", "model", "metrics", "metrics_cut")
    }
    unused = payload["model"]["segments"]["unused"]
    assert artefact.numbered(clusters()).numbers == [*range(unused, unused + 4)]
    with pytest.raises(
        ArtefactError,
        match=r"another program \(it lacks usual, clusters, cadence, .*; run `offline fit` again and `pub",
    ):
        artefact.restored()


def test_what_a_newer_program_adds_is_passed_over() -> None:
    document = encode(Artefact.of(fitted()))
    payload = json.loads(document)["payload"]
    newer = payload | {"added": 1, "model": payload["model"] | {"added": {"weights": [1]}}}
    newer["model"]["upper"] = payload["model"]["upper"] | {"added": 2}
    artefact = decode(sealed(newer))
    assert artefact.restored().snapshot() == decode(document).restored().snapshot()
    assert decode(encode(artefact)) == artefact


def test_what_was_added_later_has_its_default() -> None:
    lacking = {name: part for name, part in fitted().snapshot().items() if name not in ("rfm", "offers")}
    older = decode(sealed({"trained_through": FIRST + 12, "horizon": 30, "model": lacking}))
    assert (older.metrics, older.metrics_cut, older.as_of) == ({}, None, older.trained_through)
    model = older.restored()
    assert (model.rfm, model.offers.beside) == (Quintiles(), Offers({}).beside)


@pytest.mark.parametrize(
    "name",
    [
        *NEEDED,
        "segments.late",
        "clusters.unused",
        "spend.names",
        "orders.eta",
        "cadence.sums",
        "buy_mix.regret",
        "rfm.spend",
    ],
)
def test_a_model_that_lacks_something_is_refused_with_its_name(name: str) -> None:
    state = fitted().snapshot()
    part, _, field = name.partition(".")
    del (state[part] if field else state)[field or part]
    artefact = msgspec.structs.replace(SMALL, model=state)
    with pytest.raises(ArtefactError, match=rf"\(it lacks {name}\); run `offline fit` again and `pub"):
        artefact.restored()


# ---- versions --------------------------------------------------------------------------------------------------------
def test_a_version_names_publish_day_and_document() -> None:
    assert str(Version.of(3, 10_227, DOCUMENT)) == f"3-19980101-{hashlib.sha256(DOCUMENT).hexdigest()[:8]}"
    assert str(Version.of(12, 19_782, b"")) == "12-20240229-e3b0c442"
    assert Version.parse("12-20240229-e3b0c442") == Version(12, 19_782, "e3b0c442")


@given(st.integers(1, 65_535), st.integers(0, 65_535), st.binary(max_size=3))
def test_a_version_is_read_back_and_fits_the_number_that_rows_carry(n: int, day: int, document: bytes) -> None:
    version = Version.of(n, day, document)
    assert Version.parse(str(version)) == version
    numbers = np.array([version.number, 0], ROW["version"])
    assert numbers.tolist() == [n * 65_536 + day, 0]
    assert Version.publish_of(numbers).tolist() == [n, 0]


@pytest.mark.parametrize(("n", "day"), [(0, 1), (65_536, 1), (-1, 1), (1, -1), (1, 65_536)])
def test_a_version_that_does_not_fit_is_refused(n: int, day: int) -> None:
    with pytest.raises(ArtefactError, match=f"publish {n}, day {day} and hash 'e3b0c442' are not 1 to 65535, 0 to"):
        Version.of(n, day, b"")


@pytest.mark.parametrize(
    "text",
    ["", "1", "1-20240229", "1-20240229-e3b0c442-", "1-20240230-e3b0c442", "1-2024229-e3b0c442", "01-20240229-e3b0c442",
     "x-20240229-e3b0c442", "1-20240229-E3B0C442", "1-20240229-e3b0c44", "1-19691231-e3b0c442", "1-21490607-e3b0c442",
     "65536-20240229-e3b0c442", "0-20240229-e3b0c442", " 1-20240229-e3b0c442"],
)  # fmt: skip
def test_what_no_version_is_called_is_refused(text: str) -> None:
    with pytest.raises(ArtefactError, match=f"^model version: '{text}' is none; 3-19980101-ab5df625 is one$"):
        Version.parse(text)
