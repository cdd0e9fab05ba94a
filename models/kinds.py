"""The event types, and the only list of them: what a producer may say, what a history holds, what the fold knows.

Rule: a number stands in cleaned histories, so it is never changed and never given to another type. What each type does
to a customer is `models.customers.apply`, which does nothing for a type that it does not name.
"""

from typing import Literal, NamedTuple

EventType = Literal["purchase", "return", "view", "cart"]


class Kind(NamedTuple):
    """traded: with quantity and unit_price; the others are browsing."""

    word: EventType
    number: int
    traded: bool


KINDS = (
    Kind("purchase", 0, traded=True),
    Kind("return", 1, traded=True),
    Kind("view", 2, traded=False),
    Kind("cart", 3, traded=False),
)
PURCHASE, RETURN, VIEW, CART = (kind.number for kind in KINDS)
TICK, ERASE = -1, -2  # what else stands in the log: it only asks for a sweep; it asks for a customer to be forgotten

NUMBER_OF: dict[str, int] = {kind.word: kind.number for kind in KINDS}
WORD_OF: dict[int, str] = {kind.number: kind.word for kind in KINDS}
TRADED = tuple(kind.number for kind in KINDS if kind.traded)


def listed() -> str:
    """The words as a sentence lists them: all with commas, the last with `or`."""
    *words, last = (kind.word for kind in KINDS)
    return f"{', '.join(words)} or {last}"
