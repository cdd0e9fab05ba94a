"""Whatever file it is given, every job over a history does its work or says in one line why it cannot."""

import resource
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from refusal import one_line

from offline.__main__ import main

HEADER = "customer_id,occurred_at,amount,order_id,product_id"
JOBS = {
    "clean": ["clean", "{file}"],
    "fit": ["fit", "--history", "{file}"],
    "segment": ["segment", "--history", "{file}"],
    "dbscan": ["segment", "--history", "{file}", "--method", "dbscan"],
    "evaluate": ["evaluate", "--history", "{file}"],
    "demand": ["demand", "--history", "{file}"],
    "value": ["value", "--history", "{file}"],
    "stock": ["stock", "--history", "{file}"],
    "rules": ["rules", "--history", "{file}"],
    "report": ["report", "--history", "{file}"],
}


def lines(customers: int = 40, amount: str = "{}.50", product: str = "p{}") -> list[str]:
    """A year of orders of two lines."""
    orders = np.random.default_rng(1).integers([customers, 360, 90, 3], size=(300, 4)).tolist()
    return [
        f"c{who},{np.datetime64(19_000 + day, 'D')},{amount.format(money)},o{n},{product.format(line * (item + 1))}"
        for n, (who, day, money, item) in enumerate(orders)
        for line in range(2)
    ]


def written(path: Path, header: str, rows: Sequence[str], encoding: str = "utf-8") -> Path:
    path.write_bytes("\n".join([header, *rows, ""]).encode(encoding))
    return path


def given(job: str, file: Path, out: Path, *more: str) -> list[str | Path]:
    return [*(argument.replace("{file}", str(file)) for argument in JOBS[job]), "--out", out, *more]


# What jobs that need no customer make of sales to guests, all of one product on one day.
TO_GUESTS = {"rules": "no order holds two different products", "stock": "no product was bought in a whole week"}


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "no row can be used (no rows)"),
        ([f"c{i},2023-01-0{1 + i % 9},NaN,NaN,NaN" for i in range(50)], "no row can be used (50 bad number)"),
        ([",2023-01-01,5,o,p"] * 50, "no row can be used (50 without customer"),
        ([",,,,"] * 50, "no row can be used (50 blank)"),
        (["c1,yesterday,5,o,p"], "no row can be used (1 bad time)"),
    ],
)
def test_nothing_of_use(job: str, rows: list[str], said: str, tmp_path: Path) -> None:
    file, out = written(tmp_path / "h.csv", HEADER, rows), tmp_path / "out"
    if "without customer" in said:
        said = TO_GUESTS.get(job, said)
        if job == "report":  # of which customers are but a part: tests/test_report_guests.py
            return
    assert said in one_line(out / "artefact.json", *given(job, file, out))


@pytest.fixture
def room() -> Iterator[Callable[[int], None]]:
    """Lets no file grow beyond so many bytes, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda most: resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("command", "most", "held"),
    [
        ("look h.csv --out new.yml", 64, []),
        ("clean h.csv --out held", 64, ["held"]),
        ("rules --history h.csv --min-orders 1 --min-support 0.001 --out held", 64, ["held"]),
        ("begin --basket 40 --out .", 3_000, ["history.parquet", "states.parquet"]),
    ],
)
def test_a_full_disk_keeps_what_was_there_and_no_half_of_what_was_to_come(
    command: str,
    most: int,
    held: list[str],
    tmp_path: Path,
    room: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An empty shop.yml would be `there already, perhaps edited` to the next look."""
    monkeypatch.chdir(tmp_path)
    written(Path("h.csv"), HEADER, lines())
    if "held" in held:
        Path("held").write_text("of before")
    room(most)
    done = CliRunner().invoke(main, command.split())
    assert (done.exit_code, "File too large" in done.stderr) == (2, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["h.csv", *held])
    assert "held" not in held or Path("held").read_text() == "of before"


@pytest.mark.parametrize("job", JOBS)
def test_an_empty_file(job: str, tmp_path: Path) -> None:
    (tmp_path / "h.csv").touch()
    said = one_line(tmp_path / "out" / "artefact.json", *given(job, tmp_path / "h.csv", tmp_path / "out"))
    assert "h.csv: the file is empty; the first line must name the columns" in said


@pytest.mark.parametrize("job", JOBS)
def test_a_wrong_name_encoding_or_delimiter(job: str, tmp_path: Path) -> None:
    rows, out = lines(), tmp_path / "out"
    left = out / "artefact.json"
    needed, theirs = ("product_id", "ProductID") if job in TO_GUESTS else ("customer_id", "CustomerID")
    header = HEADER.replace(needed, theirs)
    if job == "report":  # a part of it needs no customers, but all of it customers, products or amounts
        header = header.replace("product_id", "item").replace("amount", "Total")
    file = written(tmp_path / "h.csv", header, rows)
    assert f"h.csv: no column {needed!r}; nearest is {theirs!r} of" in one_line(left, *given(job, file, out))
    file = written(tmp_path / "h.csv", HEADER, rows, "utf-16")
    assert "h.csv: not utf-8" in one_line(left, *given(job, file, out, "--encoding", "utf-8"))
    file = written(tmp_path / "h.csv", HEADER.replace(",", ";"), [row.replace(",", ";") for row in rows])
    said = one_line(left, *given(job, file, out, "--delimiter", ","))
    assert "h.csv: columns look separated by ';'; say so with --delimiter" in said


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_job_explains_itself_by_an_example(name: str) -> None:
    told = CliRunner().invoke(main, [name, "--help"])
    assert told.exit_code == 0
    assert f"python -m offline {name} " in told.stdout[told.stdout.index("Example") :]
    assert {job[0] for job in JOBS.values()} == set(main.commands) - {
        "look",
        "begin",
    }  # one asks where others refuse, one reads nothing


# ---- good files of an unusual shop: the work is done, or the line says what is missing -------------------------------
CANNOT = {
    ("one customer", "segment"): "cannot segment: different customers: 1; at least 4 are needed",
    ("one customer", "dbscan"): "no column is left to segment by",
    ("one customer", "value"): "customers who bought on a second day: 1 of 1; at least 2 are needed",
    ("one price of one product", "rules"): "no order holds two different products",
    ("nothing paid", "value"): "customers who came back and paid more than they returned: 0; at least 2",
    ("one row", "fit"): "no customer's history spans a landmark",
    ("one row", "segment"): "cannot segment: different customers: 1; at least 4 are needed",
    ("one row", "dbscan"): "no column is left to segment by",
    ("one row", "evaluate"): "no customer's history spans a landmark",
    ("one row", "demand"): "no customer's history spans a landmark",
    ("one row", "value"): "customers who bought on a second day: 0 of 1; at least 2 are needed",
    ("one row", "stock"): "no product was bought in a whole week before the cut-off",
    ("one row", "rules"): "no order holds two different products",
}
UNUSUAL = {
    "one customer": lines(customers=1),
    "one price of one product": lines(amount="7", product="p"),
    "nothing paid": lines(amount="0"),
    "one row": lines()[:1],
}


@pytest.mark.long
@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("shop", UNUSUAL)
def test_an_unusual_shop(shop: str, job: str, tmp_path: Path) -> None:
    file, out = written(tmp_path / "h.csv", HEADER, UNUSUAL[shop]), tmp_path / "out"
    if (shop, job) in CANNOT:
        assert CANNOT[shop, job] in one_line(out / "artefact.json", *given(job, file, out))
    else:
        done = CliRunner().invoke(main, [*map(str, given(job, file, out))])
        assert (done.exit_code, done.stderr) == (0, ""), done.output
        assert out.exists()
