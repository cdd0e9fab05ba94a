"""What a command of `python -m offline` says when it cannot do what was asked."""

from pathlib import Path

from click.testing import CliRunner

from offline.__main__ import main


def one_line(left: Path, *arguments: str | Path) -> str:
    """The one line with which the command ends, exit code 2; it printed nothing else and left no such file."""
    done = CliRunner().invoke(main, [*map(str, arguments)])
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    assert isinstance(done.exception, SystemExit)
    (line,) = done.stderr.splitlines()
    assert line.startswith("offline: ")
    assert not left.exists()
    return line
