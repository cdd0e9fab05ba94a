"""What is stored in any form that ever was: rows of customers, training examples."""

import base64
import zlib
from typing import Any

import numpy as np
import pytest

from models import rows
from models.rows import BLANK, DAY, ENTRY, EXAMPLE, PROMISED, RAW, ROW, UnknownForm

# A customer's row as the program of each form stored it: two orders, a return, a view and a cart; then what was served.
STORED = {
    1: (
        "c-qTkfB;qov9)IfnHd-w^n~{d0cnQ4VV^{p8F*%jfaL=YL)01c2!d%w0SMpP>W!sgoq^+C=D9x&g)JOaPF2hhO#E)Y=+0+;NjWA5"
        "h^htlZ9kOCL>fQa-{D~fi@@j~AB8<ae;ax*Fgw{VP0O^eXS`$wHXn+4p!of(0Ba_dI{7Wrt*-ozNSi3iZK_wewjs(S>*BxqtJ^(&"
        "H*xSYvZYBd&<LELA&_s^dd|A9Gw<%*?N^_Zs^3bTfq{tuf<gXbWnvU#1oJ!`E!06GB93N28UPMYKY{"
    ),
    2: (
        "c-qTkfB;qov9)IfnHd-w^n~{d0cnQ4VV^{p8F*%jfaL=YL)01c2!d%w0SMpP>W!sgoq^+C=D9x&g)JOaPF2hhO#E)Y=+0+;NjWA5"
        "h^htlZ9kOCL>fQa-{D~fi@@j~AB8<ae;ax*Fgw{VP0O^eXS`$wHXn+4p!of(0Ba_dI{7Wrt*-ozNSi3iZK_wewjs(S>*BxqtJ^(&"
        "H*xSYvZYBd&<LELA&_s^dd|A9Gw<%*?N^_Zs^3bTfq{tuf<gXbWnvU#0`nLcJRB|5L1H3~W?-7e005jkKZ5"
    ),
}
# The same customer's second example, of the landmark on day 10,072.
EXAMPLE_0 = (
    "c-rHcDZ+pZEO*cI_;Jn0vw`uU-6geI_UD3ntxDZ=Y?**^AnXCeHbBe+)o0Kn2-PR&S<Tf5)R$<_WpT*9)NPGTJ!6nPOrI7I%Q2vW"
    "2z3a}h$IF8@&y(T"
)


def unpacked(text: str) -> bytes:
    return zlib.decompress(base64.b85decode(text))


def named(record: Any) -> dict[str, Any]:
    """Every field by its name, as plain values."""
    return {name: record[name].tolist() for name in record.dtype.names}


@pytest.mark.parametrize("form", STORED)
def test_a_row_of_every_form_that_was_ever_stored_is_taken_over(form: int) -> None:
    stored = unpacked(STORED[form])
    (row,) = rows.load_rows([stored])
    assert row.dtype == ROW
    assert (row["schema"], row["seen"], row["orders"], row["days"], row["at"]) == (2, 105, 2, 2, 10_040 * DAY)
    assert (row["spend"], row["returned"], row["last"]) == (1_349_900, 50_000, 10_012 * DAY)
    assert (row["cluster"], row["demand"], row["version"] >> 16) == (2, 12.5, 1)
    kept = named(np.frombuffer(stored, rows.ROWS[form])[0]) | {"schema": 2}
    assert named(row) == {name: BLANK[name].tolist() for name in ROW.names or ()} | kept


def test_every_form_has_its_stored_row() -> None:
    assert STORED.keys() == rows.ROWS.keys()


def test_one_hash_may_hold_every_form() -> None:
    """Whoever was not written since an upgrade has the form of before."""
    packed = [unpacked(STORED[form]) for form in (2, 1, 1, 2)]
    found = rows.load_rows(packed)
    assert [row.tobytes() for row in found] == [rows.load_rows([each])[0].tobytes() for each in packed]


def test_what_is_of_the_newest_form_is_taken_as_it_is() -> None:
    packed = [unpacked(STORED[2])] * 3
    assert rows.load_rows(packed).tobytes() == b"".join(packed)
    assert len(rows.load_rows([])) == 0


def test_a_form_that_this_program_does_not_know_is_refused_in_one_line() -> None:
    newer = np.frombuffer(unpacked(STORED[2]), ROW).copy()
    newer["schema"] = 3
    with pytest.raises(UnknownForm, match=r"^customer states as long as those of form 2 say that they are of form 3$"):
        rows.load_rows([newer.tobytes()])
    for other in (b"", b"x", unpacked(STORED[2]) + b"x", unpacked(STORED[2]) * 2):
        with pytest.raises(
            UnknownForm, match=f"^customer states of {len(other)} bytes are of no form that this program"
        ):
            rows.load_rows([unpacked(STORED[1]), other])


def test_a_stored_example_is_taken_over_and_stored_again_as_the_same_bytes() -> None:
    stored = unpacked(EXAMPLE_0)
    (entry,) = found = rows.load_examples([stored])
    assert found.dtype == ENTRY
    assert (entry["row"], entry["open"], entry["orders"], entry["label"]) == (0, 1, 0, 0)
    assert (entry["day"], entry["then"]["spend"], entry["open_demand"]) == (10_072, 1_349_900, 0)
    assert rows.stored(found) == stored
    assert np.frombuffer(stored, EXAMPLE)["schema"] == [0]


def test_storing_changes_nothing_of_the_callers() -> None:
    entries = np.zeros(3, ENTRY)
    entries["row"], entries["day"] = [7, 8, 9], 5
    packed = rows.stored(entries)
    assert entries["row"].tolist() == [7, 8, 9]
    again = rows.load_examples([packed[i : i + ENTRY.itemsize] for i in range(0, len(packed), ENTRY.itemsize)])
    assert (again["row"].tolist(), again["day"].tolist()) == ([0, 0, 0], [5, 5, 5])


def test_examples_of_another_form_are_refused() -> None:
    other = np.frombuffer(unpacked(EXAMPLE_0), EXAMPLE).copy()
    other["schema"] = 1
    with pytest.raises(
        UnknownForm, match=r"^training examples as long as those of form 0 say that they are of form 1$"
    ):
        rows.load_examples([other.tobytes()])


def test_each_number_means_one_layout_for_ever() -> None:
    """Another layout needs another number, and the one before stays here: it stands in the Redis of a deployment."""
    assert (ROW.itemsize, PROMISED, ENTRY.itemsize, RAW.itemsize) == (499, 382, 144, 56)
    layouts = {number: zlib.crc32(repr(form.descr).encode()) for number, form in rows.ROWS.items()}
    assert layouts == {1: 3539519274, 2: 1978562525}
    assert {n: zlib.crc32(repr(form.descr).encode()) for n, form in rows.EXAMPLES.items()} == {0: 1288688762}
    assert len({form.itemsize for form in rows.ROWS.values()}) == len(rows.ROWS), "a form is known by its length"
    assert len({form.itemsize for form in rows.EXAMPLES.values()}) == len(rows.EXAMPLES)
