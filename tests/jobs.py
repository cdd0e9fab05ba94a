"""Offline commands in the test's own process."""

from click.testing import CliRunner

from offline.__main__ import main


def run(*args: object, code: int = 0) -> str:
    """All that the command prints; it must end with this code."""
    done = CliRunner().invoke(main, [*map(str, args)])
    assert done.exit_code == code, f"{done.output}{done.exception!r}"
    return done.output
