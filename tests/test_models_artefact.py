"""The artefact: exact both ways, canonical, and one clear line for whatever is wrong with it."""

import hashlib
import json
from typing import Any

import msgspec
import pytest
from checks import FIRST, entries, names, raws, segments
from hypothesis import given
from hypothesis import strategies as st

from models.artefact import SCHEMA, Artefact, ArtefactError, decode, encode, version
from models.model import Model, fit_history

SMALL = Artefact(
    trained_through=10_227,
    horizon=30,
    model={"x": [0.1, -0.0, 1e-300, 2**53 + 1]},
    feature_names=["log_recency"],
    clusters=[0, 3],
    segments=["Loyal", "Verlören"],
    metrics={"ngini": 0.5},
    metrics_cut=10_100,
)
PAYLOAD = (
    b'{"clusters":[0,3],"feature_names":["log_recency"],"horizon":30,"metrics":{"ngini":0.5},"metrics_cut":10100,'
    b'"model":{"x":[0.1,-0.0,1e-300,9007199254740993]},"segments":["Loyal","Verl\\u00f6ren"],"trained_through":10227}'
)
DOCUMENT = b'{"schema":1,"sha256":"' + hashlib.sha256(PAYLOAD).hexdigest().encode() + b'","payload":' + PAYLOAD + b"}\n"


def fitted() -> Model:
    days = [(day, names(), entries(day)) for day in range(FIRST + 1, FIRST + 13)]
    return fit_history(days, FIRST + 12, segments())


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
    assert dict(zip(artefact.clusters, artefact.segments, strict=True)) == {
        0: "Champions",
        1: "Lost",
        2: "Loyal",
        5: "New",
    }


def test_what_was_measured_stays_when_the_model_learns_on() -> None:
    artefact = Artefact.of(fitted(), {"ngini": 0.7}, FIRST)
    model = artefact.restored()
    model.learn_day(FIRST + 13, names(), entries(FIRST + 13))
    later = artefact.after(model)
    assert (later.trained_through, later.metrics, later.metrics_cut) == (FIRST + 13, {"ngini": 0.7}, FIRST)
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
        (sealed({"horizon": 30}), "not the fields of schema 1"),
        (sealed(msgspec.structs.asdict(SMALL) | {"extra": 1}), "not the fields of schema 1"),
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


def test_a_version_names_publish_day_and_document() -> None:
    assert version(3, 10_227, DOCUMENT) == f"3-19980101-{hashlib.sha256(DOCUMENT).hexdigest()[:8]}"
    assert version(12, 19_782, b"") == "12-20240229-e3b0c442"
