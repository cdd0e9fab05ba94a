"""Cleaned histories of every form: earlier ones are read by name, newer ones refused in one line, whoever reads."""

from collections.abc import Callable
from pathlib import Path

import kept
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from models.handover import ARTEFACT, CLEANED, HISTORY, STATED, STATES, Column
from models.kinds import PURCHASE
from offline.__main__ import main as offline
from offline.errors import HistoryError
from offline.history import files
from offline.history import read as reader
from offline.history.policy import Policy
from offline.history.read import read, read_parquet, write_parquet
from streams.__main__ import main as streams
from streams.kept import Kept
from streams.refusal import Refusal

Change = Callable[[pa.Table], pa.Table]


@pytest.fixture
def frame() -> pd.DataFrame:
    return read_parquet(kept.KEPT[0] / "fit" / HISTORY).head(200)


@pytest.fixture
def cleaned(frame: pd.DataFrame, tmp_path: Path) -> Path:
    write_parquet(frame, tmp_path / HISTORY)
    return tmp_path / HISTORY


def changed(path: Path, change: Change) -> None:
    """What another program would have written."""
    pq.write_table(change(pq.read_table(path)), path)


def form(number: str) -> Change:
    return lambda table: table.replace_schema_metadata({CLEANED.key: number})


def one_more(table: pa.Table) -> pa.Table:
    return table.append_column("channel", pa.array(["web"] * len(table)))


def test_the_form_stands_in_the_file_itself(cleaned: Path) -> None:
    assert pq.read_schema(cleaned).metadata[CLEANED.key] == b"1"


@pytest.mark.parametrize(
    "change",
    [
        one_more,
        lambda table: table.select(table.column_names[::-1]),
        lambda table: table.replace_schema_metadata(None),
        lambda table: one_more(table).replace_schema_metadata(None),
        lambda table: table.set_column(1, "kind", table["kind"].cast(pa.int64())).replace_schema_metadata(None),
    ],
    ids=["a column more", "another order", "before forms", "a column more, by pandas", "wider numbers, by pandas"],
)
def test_columns_are_read_by_name(change: Change, cleaned: Path, frame: pd.DataFrame) -> None:
    """Mutation caught: the schema compared whole: such a file was taken for a raw one, and ended as `bad time`."""
    changed(cleaned, change)
    pd.testing.assert_frame_equal(read_parquet(cleaned), frame)
    history = read([cleaned], {})
    assert (history.counts.kept, history.counts.bad_times) == (200, 0)
    pd.testing.assert_frame_equal(history.frame, frame)


def test_ids_of_a_cleaned_history_stay_as_they_are(cleaned: Path, frame: pd.DataFrame) -> None:
    """A stream takes ids as they come, and its history is a cleaned one: `c ` and `c` are two customers. Mutation
    caught: blanks taken away, a word for nothing taken for one."""
    names = frame["customer_id"]
    named = frame.assign(customer_id=[*(f"{name} " for name in names[:2]), " n/a ", *names[3:]])
    write_parquet(named, cleaned)
    pd.testing.assert_frame_equal(read([cleaned], {}).frame, named)


NEWER = "a cleaned history of form 2, and this program reads form 1: use a newer program"
LACKING = "a cleaned history without amount: clean the history files again"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (form("2"), NEWER),
        (lambda table: form("2")(table.rename_columns(["other", *table.column_names[1:]])), NEWER),
        (lambda table: form("1")(table.drop_columns(["amount"])), LACKING),
        (form("new"), NEWER.replace("form 2", "form new")),
    ],
    ids=["newer", "newer, with other columns", "a column less", "no number"],
)
def test_what_cannot_be_read_is_one_line_that_says_what_to_do(change: Change, line: str, cleaned: Path) -> None:
    """The form is asked first: what a newer one means by its columns is not for this program to guess."""
    changed(cleaned, change)
    for reads in (read_parquet, lambda path: read([path], {})):
        with pytest.raises(HistoryError) as refused:
            reads(cleaned)
        assert str(refused.value) == f"{cleaned}: {line}"
    fit = ["fit", "--history", str(cleaned), "--out", str(cleaned.parent / "fit")]
    for program, name, arguments in ((offline, "offline", fit), (streams, "streams", ["replay", str(cleaned)])):
        done = CliRunner().invoke(program, arguments)
        assert (done.exit_code, done.stderr) == (2, f"{name}: {cleaned}: {line}\n")


def test_an_event_type_that_a_newer_program_knew_is_counted_as_another_type(cleaned: Path, frame: pd.DataFrame) -> None:
    """Mutation caught: the number looked up, and where there is none, taken for what nothing means: a purchase."""
    write_parquet(frame.assign(kind=frame["kind"].where(frame.index != 3, 77)), cleaned)
    history = read([cleaned], {})
    assert (history.counts.other_types, history.counts.kept) == (1, 199)
    assert (history.frame["kind"] == PURCHASE).sum() == (frame["kind"].drop(3) == PURCHASE).sum()


@pytest.mark.parametrize("metadata", [{CLEANED.key: b"1"}, None], ids=["with its form", "before forms"])
def test_a_column_that_is_not_wanted_may_be_missing(
    metadata: dict[bytes, bytes] | None, cleaned: Path, frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a later program, whose histories have a column more: those of before lack it.

    Mutation caught: every column demanded, so that the histories of before, the first publish's too, were lost.
    """
    changed(cleaned, lambda table: table.replace_schema_metadata(metadata))
    later = CLEANED._replace(columns=(*CLEANED.columns, Column("channel", "text", wanted=False)))
    monkeypatch.setattr(files, "CLEANED", later)
    monkeypatch.setattr(files, "SCHEMA", files.SCHEMA.append(pa.field("channel", pa.large_string())))
    monkeypatch.setattr(reader, "SCHEMA", files.SCHEMA)
    found = read_parquet(cleaned)
    pd.testing.assert_frame_equal(found.drop(columns="channel"), frame)
    assert found["channel"].isna().all()
    (file,) = files.look([cleaned], {}, Policy())
    blocks = [columns for columns, _ in files.blocks(file)]
    assert [column.null_count for column in blocks[0]][-1] == len(frame)


def test_the_states_file_says_its_form_too_and_is_asked_first(tmp_path: Path, nobody: Path) -> None:
    for name in (ARTEFACT, STATES):
        (tmp_path / name).write_bytes((nobody / name).read_bytes())
    assert pq.read_schema(tmp_path / STATES).metadata[STATED.key] == b"1"
    assert Kept(tmp_path).names == []
    changed(tmp_path / STATES, lambda table: table.replace_schema_metadata({STATED.key: b"2"}))
    with pytest.raises(Refusal, match="customer states of form 2, and this program reads form 1"):
        Kept(tmp_path)
