"""`send`: good lines stand in the topic as they came, bad ones are told by number, as a worker would judge them."""

import gzip
import io
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from running import HERE, Running, running, until
from shops import T0

from models.rows import DAY
from streams import kafka as topics
from streams.__main__ import INTERRUPTED, main
from streams.commands import common, status
from streams.deployment import Deployment
from streams.send import LONGEST, PADDED, Bad, Good, judged, send
from streams.settings import Settings

NOW = T0 * DAY // 1000
BUYS: dict[str, Any] = {
    "event_id": "e1",
    "event_type": "purchase",
    "customer_id": "c1",
    "occurred_at": "2023-12-09T00:00:00Z",
    "quantity": 2,
    "unit_price": 9.9,
}


def line(**changes: Any) -> str:
    return json.dumps(BUYS | changes)


def said(text: str | bytes) -> list[str]:
    """What is said of each bad line; nothing of good ones."""
    file = io.BytesIO(text if isinstance(text, bytes) else text.encode())
    return [str(found) for found in judged(file, False, lambda: NOW) if isinstance(found, Bad)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "line 1 would be rejected: not_json: the value is not one JSON object in UTF-8"),
        ("[1]", "line 1 would be rejected: not_json"),
        (b'{"customer_id":"\xff"}', "line 1 would be rejected: not_json"),
        ('{"customer_id":"\\ud800"}', "line 1 would be rejected: not_json"),
        ("[" * 100_000, "line 1 would be rejected: not_json: nested deeper than 200"),
        ("", None),
        ("  ", "line 1 is empty"),
        (line(customer_id=7), "line 1 would be rejected: wrong_field: customer_id must be a string"),
        (line(customer_id="x" * 129), "line 1 would be rejected: wrong_field: customer_id must have 1 to 128 bytes"),
        (line(quantity=0), "line 1 would be rejected: bad_quantity"),
        (line(occurred_at="2023-12-09T00:00:00"), "line 1 would be rejected: no_time_zone"),
        (line(occurred_at="2023-12-10T00:00:00Z"), "line 1 would be rejected: future"),
        ('{"event_type":"tick","occurred_at":0}', "line 1 is a tick, which workers send"),
        (line(event_type="tick"), "line 1 would be rejected: wrong_key: a tick must have no key"),
        ("x" * LONGEST, "line 1 would be rejected: not_json"),
        ("x" * (LONGEST + 1), f"line 1 is longer than {LONGEST:,} bytes"),
        ("x" * 3 * LONGEST, f"line 1 is longer than {LONGEST:,} bytes"),
    ],
)
def test_a_bad_line_is_told_by_number_and_the_next_is_read(text: str | bytes, says: str | None) -> None:
    raw = text if isinstance(text, bytes) else text.encode()
    alone, first = said(raw), said(raw + b"\n" + line().encode() + b"\n\r\n")
    if says is None:
        assert (alone, first) == ([], ["line 1 is empty", "line 3 is empty"])
    else:
        assert alone[0].startswith(says)
        assert first == [alone[0], "line 3 is empty"]


@pytest.mark.parametrize(
    ("file", "how"),
    [
        (gzip.compress(line().encode()), "zcat FILE"),
        (line().encode("utf-8-sig"), "tail -c +4 FILE"),
        (line().encode("utf-16"), "iconv -f UTF-16 -t UTF-8 FILE"),
        (b"\xfe\xff" + line().encode("utf-16-be"), "iconv -f UTF-16 -t UTF-8 FILE"),
        (f"[{line()},\n{line()}]".encode(), "jq -c '.[]' FILE"),
        (json.dumps(BUYS, indent=2).encode(), "jq -c . FILE"),
        (line()[:-1].encode(), None),
        (b"event_id,event_type\n", None),
    ],
)
def test_a_file_of_another_form_is_told_what_makes_lines_of_it(file: bytes, how: str | None) -> None:
    """Once, at its first line. Mutations caught: at each line; for an object that is merely broken."""
    first, *others = said(file + b"\n{\n")
    assert first.endswith(f": {how} | python -m streams send -") if how else "FILE" not in first
    assert others
    assert not any("FILE" in each for each in others)


def test_a_good_line_goes_as_it_stands_under_its_customers_key() -> None:
    """Of a field given twice the last counts, in the key too."""
    text = '{"customer_id":"other",' + line(customer_id="ü", note=[1]).removeprefix("{")
    at = T0 * DAY
    for as_of_event, timestamp in ((False, NOW + 5), (True, NOW)):
        (found,) = judged(io.BytesIO(b"  " + text.encode() + b"\r\n"), as_of_event, lambda: NOW + 5)
        assert found == Good("ü".encode(), text.encode(), timestamp, at)


def test_how_many_ids_have_blanks_around_them_is_told() -> None:
    """They are good, and stay; those within an id are no matter. Nothing is told where none has any."""
    lines = [line(customer_id=each) for each in ("c1  ", "\u00a0c1", "c 1", "c1")]
    for told, count in ((lines, 2), (lines[2:], 0)):
        done = CliRunner().invoke(main, ["send", "--check", "-"], input="\n".join(told))
        assert (done.exit_code, f"{len(told)} events; bad lines: 0" in done.output) == (0, True)
        assert (f"{count} of them have {PADDED}" in done.output) == (PADDED in done.output) == bool(count)


def stands(deployment: Running) -> list[tuple[int, bytes | None, bytes | None, int]]:
    """(partition, key, value, timestamp) of all events, by value."""
    found = []
    for p, (low, high) in enumerate(topics.describe(deployment.settings).bounds):
        for record in topics.read(deployment.settings, p, low, high):
            found.append((p, record.key(), record.value(), record.timestamp()[1]))
    return sorted(found, key=lambda each: each[2] or b"")


def test_good_lines_are_sent_and_check_sends_nothing(kafka: str, redis_url: str, nobody: Path, tmp_path: Path) -> None:
    """Each to its customer's partition, with the time asked for. Mutation caught: librdkafka's own partitioner."""
    good = [line(event_id=f"e{n}", customer_id=f"c{n}", occurred_at=T0 * 86_400 - n) for n in range(9)]
    file = tmp_path / "events.jsonl"
    file.write_text("\n".join([*good[:5], "{", *good[5:]]))
    with running(kafka, redis_url, nobody, tmp_path, partitions=3) as deployment:
        checked = deployment.call("send", str(file), "--check", code=1)
        assert "good: 9 events; bad lines: 1" in checked
        assert "line 6 would be rejected: not_json" in checked
        assert stands(deployment) == []
        sent = deployment.call("send", str(file), "--timestamps", "occurred_at", code=1)
        assert "sent: 9 events; bad lines: 1" in sent
        assert "8 of them are from before the cut-off: workers pass them over" in sent
        assert stands(deployment) == [
            (deployment.home(f"c{n}"), b"c%d" % n, text.encode(), NOW - 1000 * n) for n, text in enumerate(good)
        ]
        done = CliRunner(env=deployment.env).invoke(
            main, ["send", "-", "--most", "1"], input="\n\n\n" + line(event_id="last") + "\n"
        )
        assert (done.exit_code, done.stdout) == (1, "sent: 1 events; bad lines: 3\n")
        assert done.stderr.splitlines() == ["line 1 is empty", "and 2 more bad lines"]
        assert len(stands(deployment)) == 10


def test_check_needs_no_servers(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text(line())
    env = {"CRM_KAFKA": "127.0.0.1:1", "CRM_REDIS_URL": "redis://127.0.0.1:1/0"}
    done = CliRunner(env=env).invoke(main, ["send", "--check", str(tmp_path / "events.jsonl")])
    assert (done.exit_code, done.output) == (0, "good: 1 events; bad lines: 0\n")


def broke_off(monkeypatch: pytest.MonkeyPatch, lines: list[str], stand: set[int], error: BaseException) -> str:
    """What `send` says where all but these records, numbered from 0, were under way still as it broke off."""

    def append(_: Any, records: Iterable[Any], told: Callable[[int, Any], Any]) -> None:
        for number, _record in enumerate(records):
            if number in stand:
                told(number, None)
        raise error

    monkeypatch.setattr(topics, "append", append)
    monkeypatch.setattr(topics, "producer", lambda *_: None)
    read = judged(io.BytesIO("\n".join(lines).encode()), False, lambda: NOW)
    with pytest.raises(topics.KafkaProblem) as found:
        send(Settings(), Deployment("t", "id", 1, "murmur2", T0, 30, "", 0), read, lambda _: None, lambda: None)
    return str(found.value)


@pytest.mark.parametrize(
    ("stand", "first"),
    [(set(), 1), ({0, 1}, 4), ({1, 2, 3}, 1), ({0, 2, 3}, 2), ({0, 1, 2, 3}, 6)],
)
@pytest.mark.parametrize(
    "error", [topics.KafkaAway("Kafka: away"), topics.KafkaProblem("too large"), KeyboardInterrupt()]
)
def test_whoever_breaks_off_is_told_from_which_line_to_go_on(
    monkeypatch: pytest.MonkeyPatch, stand: set[int], first: int, error: BaseException
) -> None:
    """Of a customer's last events alone a copy is told, so all of the file again would count some twice. The third line
    is bad. Mutations caught: bad lines not counted; the first that stands named; the file from its begin."""
    good = [line(event_id=f"e{n}") for n in range(4)]
    said = broke_off(monkeypatch, [*good[:2], "{", *good[2:]], stand, error)
    assert said.startswith(
        f"{str(error) or 'interrupted'}; what is good before line {first} stands in the topic: go on"
    )
    assert f"tail -n +{first} FILE" in said


async def _interrupted_at_work(_store: Any, _settings: Any) -> int:
    signal.raise_signal(signal.SIGINT)
    return 0


def test_ctrl_c_ends_a_command_that_awaits_nothing(tmp_path: Path) -> None:
    """In the midst of its work, or of a file that somebody goes on writing; and leaves Ctrl-C as it was. Mutation
    caught: asyncio's own way, which lets work go on until it awaits something."""
    with pytest.raises(KeyboardInterrupt):
        common.run(_interrupted_at_work)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    command = [sys.executable, "-m", "streams", "send", "--check", "-"]
    with (
        (tmp_path / "said").open("wb") as said,
        subprocess.Popen(command, cwd=HERE, stdin=subprocess.PIPE, stderr=said) as process,
    ):
        assert process.stdin is not None
        process.stdin.write(b"{\n")
        process.stdin.flush()
        until(lambda: b"line 1" in (tmp_path / "said").read_bytes())
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == INTERRUPTED
    assert (tmp_path / "said").read_text().endswith("\nstreams: interrupted\n")


@pytest.mark.parametrize(("asked", "code"), [([], INTERRUPTED), (["--json"], INTERRUPTED), (["--watch"], 0)])
def test_ctrl_c_says_neither_well_nor_wrong(monkeypatch: pytest.MonkeyPatch, asked: list[str], code: int) -> None:
    """Who watches ends so. Mutation caught: 0, all is well, or 1, it is not, of a look that was broken off."""
    monkeypatch.setattr(status, "run", lambda _: common.run(_interrupted_at_work))
    assert CliRunner().invoke(main, ["status", *asked]).exit_code == code


def test_ctrl_c_that_is_ignored_stays_so() -> None:
    """As in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert common.run(_interrupted_at_work) == 0
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
