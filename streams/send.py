"""`send`: lines of JSON go into the events topic, each judged first as a worker will judge it.

The rule: a line goes as it stands or is told by its number; nothing is mended on the way.
"""

import collections
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, NamedTuple

from models.events import Rejected, decode_one
from models.rows import DAY
from streams import kafka
from streams.customer import named
from streams.deployment import Deployment
from streams.kafka import KafkaProblem
from streams.rejects import OVERHEAD, Outgoing
from streams.settings import Settings

LONGEST = 1_000_000 - OVERHEAD  # bytes of a line: Kafka's clients send records of up to a million

PADDED = "blanks around customer_id, which stay: without them, as in a history, it is another customer"
MADE_LINES = (  # how a file begins that is no UTF-8 with an object a line, and what makes it one
    (rb"\x1f\x8b", "the file is compressed: zcat FILE"),
    (rb"\xef\xbb\xbf", "the file begins with a byte order mark: tail -c +4 FILE"),
    (rb"\xff\xfe|\xfe\xff", "the file is UTF-16: iconv -f UTF-16 -t UTF-8 FILE"),
    (rb"\[", "the file is an array: jq -c '.[]' FILE"),
    (rb"\{$", "an object takes one line: jq -c . FILE"),
)


class Good(NamedTuple):
    """An event to be sent. timestamp: what its record is to have, in milliseconds; occurred_at in microseconds."""

    key: bytes
    value: bytes
    timestamp: int
    occurred_at: int

    @property
    def padded(self) -> bool:
        """Whether blanks stand around the customer's id, as in a column of fixed width. A history loses them, a stream
        takes an id as it stands: one customer becomes two."""
        name = self.key.decode()
        return name != name.strip()


class Bad(NamedTuple):
    """A line that is no event; number: from 1."""

    number: int
    why: str

    def __str__(self) -> str:
        return f"line {self.number} {self.why}"


@dataclass
class Tally:
    """How many lines were good and bad; of the good ones early: of before the cut-off, which workers pass over; padded:
    with blanks around the customer's id."""

    good: int = 0
    bad: int = 0
    early: int = 0
    padded: int = 0


def judged(file: IO[bytes], as_of_event: bool, clock: Callable[[], int]) -> Iterator[Good | Bad]:
    """What becomes of each line; as_of_event: its time is the record's, else that of `clock` (ms) when it is sent.

    >>> import io
    >>> [str(bad) for bad in judged(io.BytesIO(b'{"event_type":"view"}\\n\\n'), False, lambda: 0)]
    ['line 1 would be rejected: wrong_field: event_id is missing', 'line 2 is empty']
    """
    for number, line in _lines(file):
        if line is None:
            yield Bad(number, f"is longer than {LONGEST:,} bytes")
        elif not line:
            yield Bad(number, "is empty")
        else:
            yield _judged(number, line, as_of_event, clock())


def _judged(number: int, line: bytes, as_of_event: bool, now: int) -> Good | Bad:
    try:
        return judge(line, as_of_event, now) or Bad(number, "is a tick, which workers send")
    except Rejected as error:
        hint = _hint(line) if number == 1 and error.reason == "not_json" else ""
        return Bad(number, f"would be rejected: {error}{hint}")


def _hint(line: bytes) -> str:
    """What makes lines of a file that begins so.

    >>> _hint(b"[")
    "; the file is an array: jq -c '.[]' FILE | python -m streams send -"
    """
    made = (how for begin, how in MADE_LINES if re.match(begin, line))
    return "".join(f"; {how} | python -m streams send -" for how in itertools.islice(made, 1))


def judge(line: bytes, as_of_event: bool, now: int) -> Good | None:
    """What is to be sent; None for a tick, which workers send. now: ms. Raises Rejected, as a worker would."""
    customer_id = named(line)
    key = customer_id.encode() if isinstance(customer_id, str) else None  # the decoder says what is wrong
    event = decode_one(key, line, now)
    if key is None:  # of all that is accepted a tick alone has none
        return None
    return Good(key, line, event.occurred_at // 1000 if as_of_event else now, event.occurred_at)


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """(number, the line without white space around it); None: it is too long."""
    for number in itertools.count(1):
        line = file.readline(LONGEST + 1)
        if not line:
            return
        long = len(line) > LONGEST and not line.endswith(b"\n")
        while long and (rest := file.readline(LONGEST)) and not rest.endswith(b"\n"):
            pass
        yield number, None if long else line.strip()


def send(
    settings: Settings,
    deployment: Deployment | None,
    lines: Iterable[Good | Bad],
    told: Callable[[Bad], None],
    progress: Callable[[], None],
) -> Tally:
    """Sends the good lines in their order, once each; `told` of the bad ones. deployment: None: nothing is sent."""
    tally, first = Tally(), deployment.cut_off * DAY if deployment else 0
    under_way: dict[int, int] = {}  # record, its line: of those that do not stand in the topic yet, in their order

    def records() -> Iterator[Outgoing]:
        for number, line in enumerate(lines, 1):
            progress()
            if isinstance(line, Bad):
                tally.bad += 1
                told(line)
                continue
            under_way[tally.good] = number
            tally.good += 1
            tally.early += line.occurred_at < first
            tally.padded += line.padded
            yield Outgoing(settings.events_topic, line.key, line.value, timestamp=line.timestamp)

    if deployment is None:
        collections.deque(records(), maxlen=0)
        return tally
    try:
        producer = kafka.producer(settings, deployment.partitioner)
        kafka.append(producer, records(), lambda record, _: under_way.pop(record))
    except (KafkaProblem, KeyboardInterrupt) as error:
        line = next(iter(under_way.values()), tally.good + tally.bad + 1)
        raise KafkaProblem(
            f"{str(error) or 'interrupted'}; what is good before line {line} stands in the topic: go on from there"
            f" (tail -n +{line} FILE | python -m streams send -); copies of what stands behind it are told by their"
            " event_id"
        ) from None
    return tally
