"""`make check` on models/: no builtin and no method there reaches a file, a terminal, chance or the clock.

The third part of one gate. import-linter holds the modules that models/ imports, ruff's banned-api what these offer
beyond values; neither sees a builtin, a method of a value, or the word that makes numpy's dates the clock's.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

BUILTINS = {
    *("open", "input", "print", "breakpoint"),
    *("hash", "id"),  # chance: the hash seed, an address
    *("__import__", "eval", "exec", "compile", "__builtins__"),  # ways round this gate
}
METHODS = {
    *("tofile", "dump"),  # of an array
    *("to_csv", "to_excel", "to_json", "to_parquet", "to_pickle", "sample"),  # of a frame
}
CLOCK = {"now", "today"}


def impure(source: str) -> Iterator[tuple[int, str]]:
    """(line, what it reads or calls) for each of them.

    >>> list(impure("a.tofile(open('x'))"))
    [(1, '.tofile'), (1, 'open')]
    """
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name, ctx=ast.Load()) if name in BUILTINS:
                yield node.lineno, name
            case ast.Attribute(attr=name) if name in METHODS:
                yield node.lineno, f".{name}"
            case ast.Call(args=[ast.Constant(value=word), *_]) if word in CLOCK:
                yield node.lineno, f'("{word}")'


if __name__ == "__main__":
    found = [
        f"{path}:{line}: {what} is not for models/, which takes values and returns values"
        for path in sorted(Path("models").rglob("*.py"))
        for line, what in impure(path.read_text())
    ]
    sys.exit("\n".join(found) or None)
