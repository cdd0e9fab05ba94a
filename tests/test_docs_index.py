"""What documents say of files, modules, numbers and each other, beside what is there."""

import re
from pathlib import Path

import pytest

from models import artefact, handover, rows, scores
from offline.__main__ import main as offline
from offline.history import policy

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])
PATH = re.compile(r"`((?:models|offline|streams|demo|tests|docs|requirements)/[^`\s]*|[\w-]+\.(?:md|toml|yml))`")


def text(name: str) -> str:
    return (ROOT / name).read_text()


def section(name: str, heading: str) -> str:
    """What stands under a heading of the second level."""
    return next(part for part in text(name).split("\n## ") if part.startswith(heading))


def anchors(path: Path) -> set[str]:
    """The names that GitHub gives to the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def there(pattern: str) -> bool:
    """Whether a file of that name, or one for its pattern, stands in the repository."""
    return any(ROOT.glob(pattern.rstrip("/")))


# ---- the index -------------------------------------------------------------------------------------------------------
def test_every_document_is_in_the_index() -> None:
    linked = set(re.findall(r"\]\(([\w./-]+)\)", text("docs/README.md").partition("\n## ")[0]))
    here = {path.name for path in DOCS.iterdir() if path.is_file()} - {"README.md"}
    assert linked == here | {"decisions/README.md", "../CONTRIBUTING.md"}
    decisions = {path.name for path in (DOCS / "decisions").glob("0*.md")}
    assert set(re.findall(r"\]\((0[\w.-]+)\)", text("docs/decisions/README.md"))) == decisions


def test_words_are_in_order_and_explained_once() -> None:
    words = re.findall(r"^\| \*\*([\w -]+)", section("docs/README.md", "Dictionary"), re.MULTILINE)
    assert len(words) > 30
    assert words == sorted(set(words), key=str.lower)


# ---- what is guaranteed ----------------------------------------------------------------------------------------------
def test_every_guarantee_names_a_test_that_is_there() -> None:
    named = re.findall(r"`(test_\w+)::(test_\w+)`", text("docs/reliability.md"))
    assert len(named) > 20
    missing = [f"{file}::{test}" for file, test in named if f"\ndef {test}(" not in text(f"tests/{file}.py")]
    assert missing == []


# ---- links and files -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", path.read_text()):
        found = path.parent / target if target else path
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), f"{target}#{anchor}"


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/upgrading.md", "docs/architecture.md", "README.md"])
def test_every_file_that_is_named_is_there(name: str) -> None:
    """`models/X.py`, `deployment-<version>`: a placeholder is in capitals or brackets."""
    named = [path for path in PATH.findall(text(name)) if not re.search(r"[A-Z]\.py|<", path)]
    assert named
    assert [path for path in named if not there(path) and not there(f"docs/{path}")] == []


def test_every_module_of_the_streams_and_every_room_has_its_line() -> None:
    named = set()
    for cell in re.findall(r"^\| (`[^|]+)", section("docs/architecture.md", "Where things are"), re.MULTILINE):
        first, *others = re.findall(r"`([\w./]+)`", cell)
        named |= {first, *(f"{first.rpartition('/')[0]}/{other}" for other in others)}
    assert [path for path in sorted(named) if not there(path)] == []
    streams = {f"streams/{path.name}" for pattern in ("*.py", "*.lua") for path in (ROOT / "streams").glob(pattern)}
    rooms = {f"offline/{path.parent.name}/" for path in (ROOT / "offline").glob("*/__init__.py")} | {
        "streams/commands/"
    }
    assert named >= (streams | rooms) - {"streams/__init__.py", "streams/__main__.py"}


# ---- docs/upgrading.md -----------------------------------------------------------------------------------------------
def test_every_form_has_the_number_that_the_code_gives_it() -> None:
    forms = section("docs/upgrading.md", "The forms")
    said = re.findall(r"^\| ([^|]+) \| (\d+): `(\w+)` in `([\w/.]+)` \|", forms, re.MULTILINE)
    assert {what: int(number) for what, number, *_ in said} == {
        "customer state": rows.SCHEMA,
        "training example": rows.EXAMPLE_SCHEMA,
        "artefact document": artefact.SCHEMA,
        "hash, as a contract": scores.SCHEMA,
        "cleaned history": handover.CLEANED.number,
        "states file": handover.STATED.number,
    }
    for _, _, name, module in said:
        assert re.search(rf"^{name} = ", text(module), re.MULTILINE), f"{name} in {module}"
    assert "`FORM` in `models/scores.py`, one more" in forms, (
        "every field moves it: its number stands in the code alone"
    )


def test_the_columns_of_a_history_are_those_that_jobs_show() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (.+) \| (.+) \| `(.+)` \|$", section("docs/cleaning.md", "The columns"), re.MULTILINE
    )
    assert rows == [tuple(column) for column in policy.NAMED]
    assert {column.name for column in policy.NAMED} == set(policy.OURS)
    for command in offline.commands.values():
        named = "--columns" in [option for each in command.params for option in each.opts]
        assert named == ("event_type  word" in (command.help or ""))
