"""What may be done to a column of a customer table before it is segmented, and how a person asks for it (`--treat`)."""

from offline.errors import OfflineError, nearest

NUMERIC, CATEGORICAL = ("standard", "minmax", "log", "robust"), ("onehot", "ordinal")
TREATMENTS = (*NUMERIC, *CATEGORICAL, "drop")
Asked = dict[str, tuple[str, tuple[str, ...]]]  # column -> (treatment, levels)


class TreatError(OfflineError):
    """A treatment that does not fit its column; one line for the user."""


def asked(text: str) -> Asked:
    """`column=treatment,...` as column -> (treatment, levels); TreatError where it is something else.

    >>> asked("age=minmax, grade=ordinal:low<mid<high")
    {'age': ('minmax', ()), 'grade': ('ordinal', ('low', 'mid', 'high'))}
    """
    result: Asked = {}
    for pair in filter(str.strip, text.split(",")):
        column, _, said = (part.strip() for part in pair.rpartition("="))
        treatment, _, order = said.partition(":")
        levels = tuple(level.strip() for level in order.split("<")) if order else ()
        if not column:
            raise TreatError(f"--treat {pair.strip()!r}: say column=treatment, for example age=minmax")
        if treatment not in TREATMENTS:
            raise TreatError(f"--treat {column}={treatment}: no such treatment; {nearest(treatment, TREATMENTS)}")
        if (treatment == "ordinal") != bool(levels) or len(set(levels)) < len(levels):
            raise TreatError(f"--treat {column}={said}: say ordinal with its levels, each once: ordinal:low<mid<high")
        if column in result:
            raise TreatError(f"--treat: column {column!r} is named twice")
        result[column] = treatment, levels
    return result
