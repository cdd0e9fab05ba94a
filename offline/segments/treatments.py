"""What may be done to a column of a customer table before it is segmented, and how a person asks for it (`--treat`)."""

import re

from offline.errors import OfflineError, nearest

NUMERIC, CATEGORICAL = ("standard", "minmax", "log", "robust"), ("onehot", "ordinal")
TREATMENTS = (*NUMERIC, *CATEGORICAL, "drop")
TEXT = r'"(?:[^"]|"")*"'  # in quotes, where a name holds what divides names: at the beginning of one alone
Asked = dict[str, tuple[str, tuple[str, ...]]]  # column -> (treatment, levels)


class TreatError(OfflineError):
    """A treatment that does not fit its column; one line for the user."""


def asked(text: str) -> Asked:
    """`column=treatment,...` as column -> (treatment, levels); TreatError where it is something else.

    >>> asked("age=minmax, grade=ordinal:low<mid<high")
    {'age': ('minmax', ()), 'grade': ('ordinal', ('low', 'mid', 'high'))}
    >>> asked('"Total, EUR"=log, city=ordinal:Ulm<"Bonn, West"')
    {'Total, EUR': ('log', ()), 'city': ('ordinal', ('Ulm', 'Bonn, West'))}
    """
    result: Asked = {}
    for pair in filter(str.strip, _parts(text, ",")):
        named = re.fullmatch(rf"\s*({TEXT})\s*=(.*)", pair, re.DOTALL)
        column, said = (part.strip() for part in (named.groups() if named else pair.rpartition("=")[::2]))
        column = _bare(column)
        treatment, _, order = said.partition(":")
        levels = tuple(map(_bare, _parts(order, "<")))
        if not column:
            raise TreatError(
                f"--treat {pair.strip()!r}: say column=treatment, for example age=minmax; a name with a comma in double"
                " quotes"
            )
        if treatment not in TREATMENTS:
            raise TreatError(f"--treat {column}={treatment}: no such treatment; {nearest(treatment, TREATMENTS)}")
        if (treatment == "ordinal") != bool(levels) or len(set(levels)) < len(levels):
            raise TreatError(f"--treat {column}={said}: say ordinal with its levels, each once: ordinal:low<mid<high")
        if column in result:
            raise TreatError(f"--treat: column {column!r} is named twice")
        result[column] = treatment, levels
    return result


def name(column: str) -> str:
    """As `--treat` takes it.

    >>> print(name("age"), name("Total, EUR"))
    age "Total, EUR"
    """
    return '"' + column.replace('"', '""') + '"' if set(column) & set(',="') else column


def _parts(text: str, mark: str) -> list[str]:
    """What stands between marks that no quotes hold."""
    return re.findall(rf"(?:(?<![^,<:\s]){TEXT}|[^{mark}])+", text)


def _bare(part: str) -> str:
    part = part.strip()
    return part[1:-1].replace('""', '"') if re.fullmatch(TEXT, part) else part
