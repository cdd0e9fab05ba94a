"""Ids beside a dict and a list of strings: the plain way."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from models.ids import LONGEST, Ids, digest, laid_out, split

IDS = st.one_of(
    st.sampled_from(["a", "b", "ab", "ba", "é", "e\u0301", "c00000001", "\n", "\0", "\0\0", "x" * 128]),
    st.text(min_size=1, max_size=40),
)


class Plain(RuleBasedStateMachine):
    """Rows are given as a Table gives them: free ones first, then new ones."""

    @initialize(room=st.sampled_from([0, 1, 40]))
    def begin(self, room: int) -> None:
        self.ids, self.names, self.index, self.free = Ids(room), list[str](), dict[str, int](), list[int]()

    @rule(ids=st.lists(IDS, unique=True, max_size=30), linked=st.booleans())
    def stores(self, ids: list[str], linked: bool) -> None:
        ids = [name for name in ids if name not in self.index]
        again = [self.free.pop() for _ in ids[: len(self.free)]]
        rows = [*again, *range(len(self.names), len(self.names) + len(ids) - len(again))]
        self.names += [""] * (max(rows, default=-1) + 1 - len(self.names))
        for row, name in zip(rows, ids, strict=True):
            self.names[row] = name
        self.ids.store(np.array(rows, np.int64), ids)
        if linked:
            self.ids.link(np.array(rows, np.int64))
            self.index.update(zip(ids, rows, strict=True))

    @rule(data=st.data())
    def unlinks(self, data: st.DataObject) -> None:
        gone = data.draw(st.lists(st.sampled_from([*self.index]), unique=True)) if self.index else []
        self.ids.unlink(np.array([self.index.pop(name) for name in gone], np.int64))

    @rule()
    def forgets_who_is_not_linked(self) -> None:
        rows = [row for row, name in enumerate(self.names) if name and self.index.get(name) != row]
        self.ids.forget(np.array(rows, np.int64))
        for row in rows:
            self.names[row] = ""
        self.free += rows
        if not any(self.names):
            assert not self.ids._held[: self.ids._used].any()

    @invariant()
    def agrees(self) -> None:
        asked = [*dict.fromkeys([*self.names, "", "a", "nobody", "\0"])]
        assert self.ids.find(asked).tolist() == [self.index.get(name, -1) for name in asked]
        assert self.ids.of(np.arange(len(self.ids))) == self.names
        assert self.ids.linked().tolist() == sorted(self.index.values())


Plain.TestCase.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
TestPlain = Plain.TestCase


@given(st.lists(st.text(max_size=20), max_size=20))
def test_ids_laid_out_are_split_again(ids: list[str]) -> None:
    text, ends = laid_out(ids)
    assert (split(text, ends), bytes(text)) == (ids, "".join(ids).encode())


def test_many_ids_are_found_by_the_thousand() -> None:
    """Growing moves bytes and slots. Mutation caught: slots grown, but not linked again."""
    ids, names = Ids(), [f"c{i}" for i in range(30_000)]
    for start in range(0, len(names), 1_000):
        rows = np.arange(start, start + 1_000)
        ids.store(rows, names[start : start + 1_000])
        ids.link(rows)
    assert ids.find(names).tolist() == [*range(30_000)]
    assert (ids.find([name.upper() for name in names]) == -1).all()
    assert len(ids._slots) == 1 << 16  # at most half of them are taken


def test_slots_of_who_has_gone_are_taken_again() -> None:
    """Somebody new each time: nothing grows for ever. Mutation caught: room by what was held, not by what is."""
    ids, row = Ids(8), np.zeros(1, np.int64)
    for i in range(10_000):
        ids.store(row, [f"c{i}"])
        ids.link(row)
        assert ids.find([f"c{i}", f"c{i - 1}"]).tolist() == [0, -1]
        ids.unlink(row)
        ids.forget(row)
    assert (len(ids._slots), len(ids._held) < 5_000) == (32, True)


def test_who_comes_and_goes_costs_no_new_slots_each_time() -> None:
    """Where as many are linked as the slots just bear. Mutation caught: new slots by who is linked alone."""
    n, ids, seen = 16_382, Ids(8), list[object]()
    rows = np.arange(n)
    ids.store(rows, [f"c{i}" for i in range(n)])
    ids.link(rows)
    for i in range(500):
        ids.unlink(rows[i : i + 1])
        ids.forget(rows[i : i + 1])
        ids.store(rows[i : i + 1], [f"d{i}"])
        ids.link(rows[i : i + 1])
        if not any(each is ids._slots for each in seen):
            seen.append(ids._slots)
    assert len(seen) < 5


def test_what_is_moved_is_not_left_behind() -> None:
    """Mutation caught: the bytes that are given up as they were."""
    ids = Ids(1)
    before = ids._held
    ids.store(np.arange(2), ["nobody's", "business"])
    ids.store(np.arange(2, 4), ["x" * 5_000, "y" * 5_000])
    middle, used = ids._held, ids._used
    ids.store(np.arange(4, 6), ["z" * 9_000, "z" * 9_000])
    assert middle is not ids._held
    assert not before.any()
    assert not middle[:used].any()


def test_the_hash_is_that_of_its_source() -> None:
    """http://www.isthe.com/chongo/tech/comp/fnv/: "foobar" in 64 bits; then a step of murmur3's last mixing."""
    found = 0x85944171F73967E8
    found = (found ^ found >> 32) * 0xFF51AFD7ED558CCD % 2**64
    assert int(digest(np.frombuffer(b"foobar", np.uint8), 0, 6)) == found ^ found >> 32


def test_an_id_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 65,535 bytes"):
        Ids().store(np.zeros(1, np.int64), ["x" * (LONGEST + 1)])
