"""The hot reads: customers' scores, whose texts become JSON as they are: but for quotes, they are JSON.

The rule: whoever asks in one turn of the loop goes to Redis together. While FLYING such calls are under way others
gather, so the more is asked, the more a call carries; none carries more than PART customers.
"""

import asyncio
import itertools
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, get_type_hints

import msgspec
from redis.exceptions import RedisError

from streams import wire
from streams.crm.records import ContractError
from streams.crm.schemas import Scores
from streams.keys import Keys

PART = 100  # customers of a call at most
FLYING = 4  # calls at once at most
Laid = bytes | None  # a customer's fields as members of a JSON object; None: unknown

_kinds = {name: msgspec.json.Decoder(kind) for name, kind in get_type_hints(Scores, include_extras=True).items()}
_held = msgspec.json.Decoder(Scores).decode
NAMES = Scores.__struct_fields__
KEYS = [name.encode() for name in NAMES]
PLAIN = [name for name, kind in get_type_hints(Scores).items() if kind is str and name != "segment"]  # never empty
FORM = b",".join((b'"%b":"%%b"' if name in PLAIN else b'"%b":%%b') % name.encode() for name in NAMES)
NAMED = [NAMES.index(name) for name in ("segment", "previous_segment")]  # texts of any characters
NEXT = NAMES.index("expected_next_order_at")  # empty for some
BARE = [NAMES.index(each) for each in ("mean_days_between_orders", "average_order_value", "total_value")]  # empty too


class ScoreReads:
    """Of one deployment. client: of store.connect, whose answers are bytes."""

    def __init__(self, client: Any, keys: Keys) -> None:
        self.client, self.keys = client, keys
        self._waiting: list[tuple[str, asyncio.Future[Laid]]] = []
        self._flying: set[asyncio.Task[None]] = set()
        self._free = asyncio.Semaphore(FLYING)
        self._called = False

    def one(self, customer_id: str) -> "asyncio.Future[Laid]":
        """To be awaited. Raises RedisError, and ContractError for a hash that is not of this contract."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Laid] = loop.create_future()
        self._waiting.append((customer_id, future))
        if not self._called:
            self._called = True
            loop.call_soon(self._fly)
        return future

    async def many(self, ids: Sequence[str]) -> list[Laid | ContractError]:
        """Of many, in their order; the error stands in the place of whose hash is not of this contract. Raises
        RedisError."""
        parts = [ids[start : start + PART] for start in range(0, len(ids), PART)]
        found = await asyncio.gather(*map(self._read, parts))
        return list(itertools.chain.from_iterable(found))

    def _fly(self) -> None:
        """Takes off with who waits, as far as there is room."""
        self._called = False
        while self._waiting and len(self._flying) < FLYING:
            part, self._waiting = self._waiting[:PART], self._waiting[PART:]
            task = asyncio.create_task(self._answer(part))
            self._flying.add(task)
            task.add_done_callback(self._landed)

    def _landed(self, task: "asyncio.Task[None]") -> None:
        self._flying.discard(task)
        self._fly()

    async def _answer(self, part: list[tuple[str, "asyncio.Future[Laid]"]]) -> None:
        """Whoever is not there any more (a cancelled future) is passed over."""
        try:
            found = await self._call([customer_id for customer_id, _ in part])
        except Exception as error:
            told: list[Any] = [error] * len(part)
        else:
            told = [judged(customer_id, held) for (customer_id, _), held in zip(part, found, strict=True)]
        for (_, future), each in zip(part, told, strict=True):
            if future.done():
                continue
            if isinstance(each, Exception):
                future.set_exception(each)
            else:
                future.set_result(each)

    async def _read(self, part: Sequence[str]) -> list[Laid | ContractError]:
        async with self._free:
            found = await self._call(part)
        return [judged(customer_id, held) for customer_id, held in zip(part, found, strict=True)]

    async def _call(self, ids: Sequence[str]) -> list[Any]:
        commands = wire.pack(*(("HGETALL", self.keys.customer(each)) for each in ids))
        found = await wire.exchange(self.client, commands, len(ids))
        for each in found:
            if isinstance(each, RedisError) and not _is_no_hash(each):
                raise each
        return found


def judged(customer_id: str, held: Any) -> Laid | ContractError:
    """As members of a JSON object, of what HGETALL answers; the error, which is not raised, where that is not of this
    contract."""
    if not held:
        return None
    try:
        laid = laid_out(held)
        _held(b"{%b}" % laid)
    except (TypeError, ValueError):  # an error holds nothing; msgspec's are ValueErrors
        return ContractError(f"customer {customer_id!r}: not a hash of this contract: {_wrong(held)}")
    return laid


def _is_no_hash(error: RedisError) -> bool:
    return str(error).startswith("WRONGTYPE")


def laid_out(held: list[bytes]) -> bytes:
    """Members of a JSON object, of names and texts in turn. Raises TypeError for one that is missing, and
    UnicodeDecodeError."""
    told: list[Any] = held[1::2] if held[::2] == KEYS else [*map(_fields(held).get, KEYS)]
    for place in NAMED:
        told[place] = _name(told[place])
    for place in BARE:
        told[place] = told[place] or b"null"
    told[NEXT] = b'"%b"' % told[NEXT] if told[NEXT] else b"null"
    return FORM % tuple(told)


def _fields(held: list[bytes]) -> dict[bytes, bytes]:
    return dict(zip(held[::2], held[1::2], strict=True))


def _wrong(held: list[bytes] | RedisError) -> str:
    """The first field that is not as it must be, each judged alone; nothing of what it holds."""
    if isinstance(held, RedisError):
        return "its key is of another type"
    fields = _fields(held)
    for name, key in zip(NAMES, KEYS, strict=True):
        text = fields.get(key, b"")
        try:
            _kinds[name].decode(_member(name, text))
        except ValueError:
            return f"its {name} is {'not as it must be' if text else 'missing'}"
    return "its fields are not as they must be"


def _member(name: str, text: bytes) -> bytes:
    """The JSON of one field alone. Raises UnicodeDecodeError."""
    place = NAMES.index(name)
    if place in NAMED:
        return _name(text)
    if place in BARE or place == NEXT:
        text = text or b"null"
    return b'"%b"' % text if name in PLAIN or (place == NEXT and text != b"null") else text


@lru_cache(maxsize=1_000)
def _name(text: bytes | None) -> bytes:
    """In quotes, whatever it holds; null where it is empty. Raises UnicodeDecodeError."""
    return msgspec.json.encode(text.decode()) if text else b"null"


def chosen(laid: bytes, fields: Sequence[str]) -> bytes:
    """Of these members those of some fields.

    >>> chosen(b'"orders":2,"spend":140.00', ["spend"])
    b'"spend":140.00'
    """
    members = msgspec.json.decode(b"{%b}" % laid, type=dict[str, msgspec.Raw])
    return b",".join(b'"%b":%b' % (name.encode(), bytes(members[name])) for name in fields if name in members)
