"""What this process last wrote of each customer's hash, so that only what changed is written again.

The rule: nothing is known at first, and whatever is not known to stand in Redis is written whole.
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from models import scores
from models.artefact import Version
from models.ids import split
from streams import spelled
from streams.keys import Keys
from streams.serving import Serving
from streams.spelled import COLUMNS, SCORER, Texts
from streams.wire import pack

Array = npt.NDArray[Any]


class Hashes(NamedTuple):
    """Commands that bring customers' hashes up to now, one each, one behind the other; written (n,): fields as bits;
    ranked (n,): whether they are to stand in their segments' sets anew."""

    commands: bytes
    written: Array
    ranked: Array


class Told:
    """By row of a Table: whose state stands in Redis, and the marks (streams/spelled.py) of what the hash says."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._held = np.zeros(1024, bool)
        self._marks = np.zeros((1024, COLUMNS), np.int64)
        self._texts: tuple[Any, Texts] | None = None  # and what they are made of
        self._scorer = 0  # the mark of the version that scores

    def load(self, customers: int) -> None:
        """The states of the first rows, so many, stand in Redis; nothing is known of their hashes."""
        self._grow(customers)
        self._held[:customers] = True

    def holds(self, row: int) -> bool:
        """Whether its state stands in Redis."""
        return row < len(self._held) and bool(self._held[row])

    def missing(self, rows: Array) -> int:
        """How many states of these do not."""
        self._grow(int(rows.max(initial=-1)) + 1)
        return len(rows) - int(np.count_nonzero(self._held[rows]))

    def forget(self, rows: Sequence[int] | Array, held: bool = False) -> None:
        """Nothing is known of these any more; held: but whether their states stand there."""
        self._grow(int(np.max(rows, initial=-1)) + 1)
        self._marks[rows, SCORER] = 0
        if not held:
            self._held[rows] = False

    def hashes(
        self,
        serving: Serving,
        rows: Array,
        ids: tuple[Array, Array],
        state: Array,
        said: Any,
        swept_to: int,
        place: str,
    ) -> Hashes:
        """What is to be written of these hashes; from here on it is.

        rows, ids: of these customers (n,), ids as `Ids.texts` has them; state (n,) of ROW; said: columns (n,) of
        Predictions, as of `swept_to`; place: `topic:partition` of their events.
        """
        if not len(rows):
            return Hashes(b"", np.empty(0, np.int64), np.empty(0, np.bool_))
        self._grow(int(rows.max()) + 1)
        texts, model = self._current(serving, place), serving.model
        picks = model.offers.choose(state, scores.moment(state, swept_to))
        moments = self._scorer, swept_to, model.horizon
        keys, ends = ids
        written, ranked = np.empty(len(rows), np.int64), np.empty(len(rows), np.bool_)
        out = np.empty(len(rows) * texts.most + int(ends[-1]), np.uint8)
        size = spelled.lay_out(
            *(rows, keys, ends, state, tuple(said), picks, moments, self._marks),
            *(texts.bytes, texts.ends, texts.products, texts.text, written, ranked, out),
        )
        self._held[rows] = True
        if size >= 0:
            return Hashes(out[:size].tobytes(), written, ranked)
        self._marks[rows, SCORER] = 0  # amounts beyond what is compared: all is written, each time
        written[:], ranked[:] = spelled.ALL, True
        values = scores.texts(state, said, serving.segments, model.offers, model.horizon, swept_to, place)
        return Hashes(self._plain(split(*ids), values, serving.common()), written, ranked)

    def _current(self, serving: Serving, place: str) -> Texts:
        made_of, common = (serving.version, place), serving.common()
        if self._texts is None or self._texts[0] != made_of:
            products = serving.model.offers.products
            texts = Texts(self._keys.customer(""), place, common, serving.segments, products)
            self._texts, self._scorer = (made_of, texts), _mark(Version.parse(serving.version))
        texts = self._texts[1]
        texts.now(common)
        return texts

    def _plain(self, names: Sequence[str], values: Sequence[Sequence[str]], common: Sequence[str]) -> bytes:
        """The whole hashes; values: what scores.texts says."""
        told = (itertools.chain(*zip(scores.FIELDS, (*texts, *common), strict=True)) for texts in values)
        return pack(*(("HSET", self._keys.customer(name), *each) for name, each in zip(names, told, strict=True)))

    def _grow(self, size: int) -> None:
        """Room for so many rows."""
        if size > len(self._held):
            before, more = len(self._held), max(size, len(self._held) * 3 // 2)
            held, marks = np.zeros(more, bool), np.zeros((more, COLUMNS), np.int64)  # no memory until it is written
            held[:before], marks[:before] = self._held, self._marks
            self._held, self._marks = held, marks


def _mark(version: Version) -> int:
    """A version as 64 bits: publish, day, digest.

    >>> hex(_mark(Version.parse("3-19980101-ab5df625")))
    '0x327f3ab5df625'
    """
    bits = version.n << 48 | version.day << 32 | int(version.digest, 16)
    return bits - (bits >> 63 << 64)  # of a sign
