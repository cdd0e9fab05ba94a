"""What is stored in any form that ever was: rows of customers, training examples."""

import base64
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    3: (
        "c-s5>9|BlenHVw|Ab^!YZ0%V=W(I}^J>mUAK$>B1*e4NY2A-KBVEKT<5OoGUf?%3a0K&JndShu=XW+P(dG1d`VGBo<Qx!7=6TjOpy7Q"
        "S|QjW<1qH2MC+YhBOk;c#VcX*h=A~5>LM`4f9--aFx%ue=8(=zSr886v^&4*$hD7I2(U|?c^V30V_?TljYUj<linQnDOl-pF#B<tco-"
        "%T9+Oe()43fI<OWn{xIdwzyMzFq4%>%PvsyLY!=ea-}Sj)$X#I>>ktM>7x&042##Q2"
    ),
    4: (
        "c-s5(9|BlenHVw|Ab^!YZ0%V=W(I}^J>mUAK$>B1*e4NY2A-KBVEKT<5OoGUf?%3a0K&JndShu=XW+P(dG1d`VGBo<Qx!7=6TjOpy7QS"
        "|QjW<1qH2MC+YhBOk;c#VcX*h=A~5>LM`4f9--aFx%ue=8(=zSr886v^&4*$hD7I2(U|?c^V30V_?TljYUj<linQnDOl-pF#B<tco-%T"
        "9+Oe()43fI<OWn{xIdwzyMzFq4%>%PvsyLY!=eGWF9Sw<aXxrZY|gP600I>;gsM+OE(Cm_S#48#Wj+yhb*"
    ),
    5: (
        "c-s5@9|BlenHVw|Ab^!YZ0%V=W(I}^J>mUAK$>B1*e4NY2A-KBVEKT<5OoGUf?!%<Av>5}u$vc5GYUZDt*zcz8rB&&?q#0)(@@yLQRP"
        "&{48g?j_KWU(=9iRXa)78>VBhvbsZ6Btv;7?&X0Qm1{_#=RBlNeS2LrQ{{nE5d`+CMpc3|_Nm<Nhs_FAbkFfcJdFi0NgCq}XNuL7*MO"
        "t-os%5AD=l6CQ)?<Nj@CY9e2g=_1tGP2>9JwHPr->&tXbzf)R-MibbJ_j4lETayx%)^nPLCo1g9b}P+BLjn?6OdtV2I2z%OQ=<<"
    ),
}
# The same customer's second example, of the landmark on day 10,072, likewise.
EXAMPLES = {
    0: (
        "c-rHcDZ+pZEO*cI_;Jn0vw`uU-6geI_UD3ntxDZ=Y?**^AnXCeHbBe+)o0Kn2-PR&S<Tf5)R$<_WpT*9)NPGTJ!6nPOrI7I%Q2vW2z3a"
        "}h$IF8@&y(T"
    ),
    1: (
        "c-rHcDZ+pZEO*cI_;Jn0vw`uU-6geI_UD3ntxDZ=Y?**^AnXCeHbBe+)o0Kn2-PR&S<Tf5)R$<_WpT*9)NPGTJ!6nPOrI7I%OTmr2*eT"
        "U2sQ*LIsplL5DNgOgBG#"
    ),
    2: (
        "c-rHcDZ+pZEO*cI_;Jn0vw`uU-6geI_UD3ntxDZ=Y?**^AnXCeHbA^!H!oN{4^+QFk04aPoM$yxBT#>$J(tBH`%<?xHua1__AvcgKrD"
        "x(9|k~j5$X^&BV1I`2}sz3SOAk}8G`"
    ),
}


def unpacked(text: str) -> bytes:
    return zlib.decompress(base64.b85decode(text))


def named(record: Any) -> dict[str, Any]:
    """Every field by its name, as plain values."""
    return {name: record[name].tolist() for name in record.dtype.names}


SINCE_4 = ("segment", "segment_before", "segment_since", "value", "open_high", "open_p_buy")
SINCE_5 = ("today", "peak")
REMEMBERED = {name for fields in rows.RINGS.values() for name in fields} | {*rows.SLOTS.values()}


@pytest.mark.parametrize("form", STORED)
def test_a_row_of_every_form_that_was_ever_stored_is_taken_over(form: int) -> None:
    stored = unpacked(STORED[form])
    (row,) = rows.load_rows([stored])
    assert row.dtype == ROW
    assert (row["seen"], row["orders"], row["days"], row["at"]) == (105, 2, 2, 10_040 * DAY)
    assert (row["spend"], row["returned"], row["last"]) == (1_349_900, 50_000, 10_012 * DAY)
    assert (row["cluster"], row["demand"], row["version"] >> 16) == (2, 12.5, 1)
    published = (2, 3, 10_012, 150.5, 40.25, 0.5) if form >= 4 else (-1, -1, 0, 0, -1, 0)
    assert tuple(named(row)[name] for name in SINCE_4) == published
    # Of a row of before nobody knows its largest day: nothing is proven yet.
    assert (row["today"], row["peak"], row["raw"]["peak"]) == (
        (500_000, 900_000, 900_000) if form >= 5 else (0, row["spend"], row["raw"]["spend"])
    )
    if form < 3:
        kept = named(np.frombuffer(stored, rows.ROWS[form])[0])
        since = {*SINCE_4, *SINCE_5} | ({"rfm"} if form < 2 else set())
        assert {*named(row)} - {*kept} == REMEMBERED - {*kept} | since
        kept["raw"] = (*kept["raw"], row["raw"]["peak"])
        assert {n: named(row)[n] for n in kept if n in named(row)} == {n: kept[n] for n in kept if n in named(row)}


def test_what_an_older_row_remembers_is_in_both_rings_from_the_oldest_on() -> None:
    """It had one ring of all kinds. Mutations caught: ids turned around or left at their places; the slot of before."""
    for many in (0, 5, 16, 23):
        old = np.zeros(1, rows.ROWS[2])
        old["schema"], old["event_slot"] = 2, many % 16
        ids = [(n << 40) + n for n in range(1, many + 1)]
        for place, each in enumerate(ids):
            old["event_ids"][0, place % 16] = each
        (row,) = rows.load_rows([old.tobytes()])
        last = np.array(ids[-16:], np.uint64)
        for name, slot in (("traded", len(last)), ("browsed", len(last) % 16)):
            low, high = (row[f"{name}_{part}"][: len(last)] for part in ("low", "high"))
            assert [low.tolist(), high.tolist()] == [part.tolist() for part in rows.short(last)]
            assert row[f"{name}_slot"] == slot
            assert not row[f"{name}_low"][len(last) :].any()


def test_every_form_has_its_stored_row() -> None:
    assert STORED.keys() == rows.ROWS.keys()


def test_one_hash_may_hold_every_form() -> None:
    """Whoever was not written since an upgrade has the form of before."""
    packed = [unpacked(STORED[form]) for form in (2, 3, 1, 5, 4, 1, 3, 4, 5, 2)]
    found = rows.load_rows(packed)
    assert [row.tobytes() for row in found] == [rows.load_rows([each])[0].tobytes() for each in packed]
    assert len(rows.load_rows([])) == 0
    assert rows.packed_rows(np.empty(0, ROW)) == []


@st.composite
def people(draw: st.DrawFn) -> Any:
    """Rows whose rings were filled as the fold fills them, each to any number of entries, all else at random."""
    found = np.frombuffer(draw(st.binary(min_size=ROW.itemsize, max_size=ROW.itemsize)) * 3, ROW).copy()
    for row in found:
        for name, fields in rows.RINGS.items():
            room, most = len(row[fields[0]]), draw(st.integers(0, 2 * len(row[fields[0]])))
            row[rows.SLOTS[name]] = most % room
            row[fields[0]] = np.where(np.arange(room) < most, np.maximum(row[fields[0]], 1), 0)
            for other in fields[1:]:
                row[other][most:] = 0
    return found


@given(people())
def test_packed_and_unpacked_a_row_is_the_same(found: Any) -> None:
    """And as short as its rings are empty. Mutations caught: a full ring taken for an empty one; fields left out."""
    packed, sizes = rows.pack_rows(found)
    alone = rows.packed_rows(found)
    assert b"".join(alone) == packed.tobytes()
    assert [len(each) for each in alone] == sizes.tolist()
    assert rows.load_rows(alone).tobytes() == found.tobytes()
    entries = [[np.count_nonzero(row[fields[0]]) for fields in rows.RINGS.values()] for row in found]
    widths = [6, 6, 8, 6]
    assert sizes.tolist() == [264 + sum(np.multiply(mine, widths).tolist()) for mine in entries]
    assert [rows.load_rows([each])[0].tobytes() for each in alone] == [row.tobytes() for row in found]


def test_a_stored_row_is_literally_these_bytes() -> None:
    """The head: minus the form, and the entries of each ring; then the row, without what is empty of its rings."""
    row = np.array([BLANK])
    row["spend"], row["traded_slot"], row["traded_low"][0, 0], row["traded_high"][0, 0] = 5, 1, 0x01020304, 0x0506
    row["offered_slot"] = 0
    row["offered"], row["offered_day"] = 9, 8
    (packed,) = rows.packed_rows(row)
    assert packed[:12] == b"\xfb" + b"\xff" * 7 + b"\x01\x00\x00\x10"
    fixed = row.tobytes()[: ROW.fields["traded_low"][1]]  # type: ignore[index]  # of the stubs
    assert packed[12:].startswith(fixed + bytes.fromhex("04030201 0605"))
    assert packed.endswith(b"\x09\0\0\0" * 16 + b"\x08\0" * 16 + b"\0")
    assert len(packed) == 264 + 6 + 16 * 6


def test_a_customer_with_five_events_takes_no_more_than_before() -> None:
    """499 bytes had every row of form 2."""
    row = np.array([BLANK])
    for name, fields in rows.RINGS.items():
        row[rows.SLOTS[name]] = 5
        for field in fields:
            row[field][:, :5] = 1
    assert rows.pack_rows(row)[1].tolist() == [394]


def test_a_form_that_this_program_does_not_know_is_refused_in_one_line() -> None:
    newer = np.frombuffer(unpacked(STORED[2]), rows.ROWS[2]).copy()
    newer["schema"] = 4
    with pytest.raises(UnknownForm, match=r"^customer states as long as those of form 2 say that they are of form 4$"):
        rows.load_rows([unpacked(STORED[3]), newer.tobytes()])
    good = unpacked(STORED[3])
    for form in (6, 2, 1):  # those up to 2 stand behind no head
        with pytest.raises(UnknownForm, match=f"^customer states say that they are of form {form}$"):
            rows.load_rows([good, (-form).to_bytes(8, "little", signed=True) + good[8:]])
    more = good[:8] + bytes([good[8] + 1]) + good[9:]
    full = good[:8] + bytes([65]) + good[9:] + bytes(6 * (65 - good[8]))
    older = unpacked(STORED[2])
    for other in (b"", b"x", good[:8], good[:-1], good + b"x", more, full, older + b"x", older * 2):
        with pytest.raises(
            UnknownForm, match=f"^customer states of {len(other)} bytes are of no form that this program"
        ):
            rows.load_rows([unpacked(STORED[1]), other, good])
    for cut in (good[:8], good[:10]):  # nothing behind it is read as its head
        with pytest.raises(UnknownForm, match=f"^customer states of {len(cut)} bytes are of no form"):
            rows.load_rows([good, cut])


def test_no_id_is_kept_as_none() -> None:
    """Half of a hash may be 0. Mutations caught: each half by itself made another; the other half made another."""
    low, high = rows.short(np.array([0, 1 << 48, 1 << 32, 5, 5 << 48 | 7 << 32 | 1], np.uint64))
    assert low.tolist() == [1, 1, 0, 5, 1]
    assert high.tolist() == [0, 0, 1, 0, 7]


@pytest.mark.parametrize("form", EXAMPLES)
def test_an_example_of_every_form_that_was_ever_stored_is_taken_over(form: int) -> None:
    """Of form 0 nobody knows what was promised. Mutation caught: a bound of 0."""
    stored = unpacked(EXAMPLES[form])
    (entry,) = found = rows.load_examples([stored])
    assert found.dtype == ENTRY
    assert (entry["row"], entry["open"], entry["orders"], entry["label"]) == (0, 1, 0, 0)
    assert (entry["day"], entry["then"]["spend"], entry["open_demand"]) == (10_072, 1_349_900, 0)
    assert (entry["open_high"], entry["open_p_buy"]) == ((-1, 0) if form == 0 else (40.25, 0.5))
    assert (entry["now"]["peak"], entry["then"]["peak"]) == (
        (entry["now"]["spend"], 1_349_900) if form < 2 else (900_000, 900_000)
    )
    again = rows.stored(found)
    assert np.frombuffer(again, EXAMPLE)["schema"] == [rows.EXAMPLE_SCHEMA]
    assert (again == stored) == (form == rows.EXAMPLE_SCHEMA)
    mixed = rows.load_examples([unpacked(EXAMPLES[n]) for n in (0, form, 1, 2)])
    assert mixed[1].tobytes() == entry.tobytes()


def test_every_form_has_its_stored_example() -> None:
    assert EXAMPLES.keys() == rows.EXAMPLES.keys()


def test_storing_changes_nothing_of_the_callers() -> None:
    entries = np.zeros(3, ENTRY)
    entries["row"], entries["day"] = [7, 8, 9], 5
    packed = rows.stored(entries)
    assert entries["row"].tolist() == [7, 8, 9]
    again = rows.load_examples([packed[i : i + ENTRY.itemsize] for i in range(0, len(packed), ENTRY.itemsize)])
    assert (again["row"].tolist(), again["day"].tolist()) == ([0, 0, 0], [5, 5, 5])


def test_examples_of_another_form_are_refused() -> None:
    other = np.frombuffer(unpacked(EXAMPLES[2]), EXAMPLE).copy()
    other["schema"] = 3
    with pytest.raises(
        UnknownForm, match=r"^training examples as long as those of form 2 say that they are of form 3$"
    ):
        rows.load_examples([other.tobytes()])


def test_each_number_means_one_layout_for_ever() -> None:
    """Another layout needs another number, and the one before stays here: it stands in the Redis of a deployment."""
    assert (ROW.itemsize, PROMISED, ENTRY.itemsize, RAW.itemsize) == (892, 757, 168, 64)
    layouts = {number: zlib.crc32(repr(form.descr).encode()) for number, form in rows.ROWS.items()}
    assert layouts == {1: 3539519274, 2: 1978562525, 3: 4190523539, 4: 1372647243, 5: 3426356552}
    assert {n: zlib.crc32(repr(form.descr).encode()) for n, form in rows.EXAMPLES.items()} == {
        0: 1288688762,
        1: 1729686537,
        2: 3532065250,
    }
    assert rows.ROWS[1].itemsize != rows.ROWS[2].itemsize, "these are known by their length"
    assert len({form.itemsize for form in rows.EXAMPLES.values()}) == len(rows.EXAMPLES)
