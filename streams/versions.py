"""The model versions that Redis keeps, as a person looks at them.

The rule: a document is read as JSON and by field name, so that those of older and of newer programs are listed too.
"""

from dataclasses import dataclass

import msgspec

from streams.deployment import Deployment, DeploymentError, age, date_of
from streams.store import Store

FIGURES = ("deviance", "ngini", "bias")  # of spend, as served, on the later time of the fit
SERVED = "spend/served"


class _Spend(msgspec.Struct):
    examples: int = 0


class _Model(msgspec.Struct):
    spend: _Spend = msgspec.field(default_factory=_Spend)


class _Payload(msgspec.Struct):
    fitted_on: int | None = None
    model: _Model = msgspec.field(default_factory=_Model)
    metrics: dict[str, msgspec.Raw] = {}


class _Document(msgspec.Struct):
    payload: _Payload = msgspec.field(default_factory=_Payload)


@dataclass(frozen=True)
class Known:
    """learned: the day through which it has learned, YYYY-MM-DD. serving: does it serve now? kept: by `keep`, and so
    never dropped. examples: how many it has learned (0: its scores rest on defaults). figures: those that
    its fit measured, by name.
    """

    version: str
    learned: str
    serving: bool
    kept: bool
    examples: int
    figures: dict[str, float]


async def listed(store: Store) -> list[Known]:
    """All that have a document, in the order of publish and day. Raises DeploymentError for one of another shape."""
    serving, pinned = (await store.model()).get("version"), await store.pinned()
    documents = {version: await store.document(version) for version in {*await store.versions(), *pinned}}
    there = {version: document for version, document in documents.items() if document is not None}
    found = []
    for (_, day), version in sorted((_order(version), version) for version in there):
        examples, figures = _told(there[version], store.keys.version(version))
        learned = f"{day[:4]}-{day[4:6]}-{day[6:]}"
        found.append(Known(version, learned, version == serving, version in pinned, examples, figures))
    return found


async def aged(store: Store, deployment: Deployment) -> str:
    """How old the history of the first publish is, and the model that serves, in words."""
    stored, document = await store.served()
    if not stored:
        return deployment.begun
    fitted = _payload(document or b"", store.keys.version(stored["version"])).fitted_on
    anew = f"was {fitted_on(fitted)}, and " if fitted not in (None, deployment.cut_off) else ""
    return f"{deployment.begun}; the model that serves {anew}has learned through {date_of(int(stored['day']))}"


def fitted_on(day: int) -> str:
    """Of a model, in words; day: the midnight at which the history of its fit ended."""
    return f"fitted on what was before {date_of(day)}, {age(day):,} days ago"


async def learned_again(store: Store, version: str) -> str | None:
    """Which days that had been learned are learned again by this version, just published; None where none are."""
    from models.artefact import Version  # here, for a worker says its age before it loads a model

    stored, ours = await store.model(), Version.parse(version)
    if Version.parse(stored["version"]).n != ours.n or int(stored["since"]) <= ours.day:
        return None
    days = f"from {date_of(ours.day + 1)} on, {int(stored['since']) - ours.day:,} in all"
    return f"days that had been learned are learned again, {days}: `streams model` tells how far that is"


def _told(document: bytes, key: str) -> tuple[int, dict[str, float]]:
    """(examples, figures)."""
    payload = _payload(document, key)
    try:
        figures = msgspec.json.decode(payload.metrics.get(SERVED, b"{}"), type=dict[str, float])
    except msgspec.ValidationError as error:
        raise _other(key, error) from None
    return payload.model.spend.examples, {name: of for name, of in figures.items() if name in FIGURES}


def _payload(document: bytes, key: str) -> _Payload:
    """What it holds; nothing where it is damaged: whoever serves it will say so."""
    try:
        return msgspec.json.decode(document, type=_Document).payload
    except msgspec.ValidationError as error:
        raise _other(key, error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Payload()


def _other(key: str, error: Exception) -> DeploymentError:
    return DeploymentError(f"{key} is no model's document ({error}): restore Redis, or DEL that key")


def table(known: list[Known]) -> str:
    """A line a version.

    >>> print(table([Known("2-20231209-ab5df625", "2023-12-09", True, False, 1234, {"deviance": 13.09, "bias": 1.0})]))
    version              learned through  examples  deviance   nGini    bias
    2-20231209-ab5df625  2023-12-09          1,234    13.090           1.000  serving
    """
    lines = [f"{'version':<19}  learned through  examples  deviance   nGini    bias"]
    for each in known:
        figures = "  ".join(
            f"{each.figures[name]:>{width}.3f}" if name in each.figures else " " * width
            for name, width in zip(FIGURES, (8, 6, 6), strict=True)
        )
        said = ", ".join(word for word, so in (("serving", each.serving), ("kept", each.kept)) if so)
        lines.append(f"{each.version:<19}  {each.learned:<15}  {each.examples:>8,}  {figures}  {said}".rstrip())
    return "\n".join(lines)


def _order(version: str) -> tuple[int, str]:
    n, day, _ = version.split("-")
    return int(n), day
