"""Event types in a shop's own words.

Rule: what a word means is said by the person (`--types`), never guessed; a guess is only told, ready to be typed.
"""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.kinds import NUMBER_OF
from offline.history import ids
from offline.history.values import Bools

WORDS = 5  # that are named
# Parts of words that shops use, by what they mean. "credit" comes before "order": a credit order gives money back.
MEANT = {
    "return": "return revers refund credit gutschrift storno cancel retour rueck rück avoir rembours devol reso void"
    " abono erstatt rimbors reembols",
    "cart": "cart basket warenkorb panier carrito",
    "view": "view visit impression click browse",
    "purchase": "purchase sale sold order invoice bill receipt rechnung verkauf kauf bestellung buy paid payment charge"
    " vente venta vendita facture factura pedido",
}


def kinds(text: pa.Array, types: Mapping[str, str]) -> NDArray[np.int8]:
    """The kind of each event type, purchase where there is none, -1 for any other. types: theirs (lower case) -> ours.

    >>> kinds(pa.array(["Sale", None, " Refund", "other"]), {"sale": "purchase", "refund": "return"}).tolist()
    [0, 0, 1, -1]
    """
    meant = NUMBER_OF | {theirs: NUMBER_OF[ours] for theirs, ours in types.items()}
    word = pc.utf8_lower(ids.present(text)[0]).fill_null("purchase")
    number = pc.index_in(word, pa.array([*meant], pa.large_string())).fill_null(len(meant)).to_numpy()
    found: NDArray[np.int8] = np.array([*meant.values(), -1], np.int8)[number]
    return found


def words(text: pa.Array, rows: Bools) -> Counter[str]:
    """How often each word stands in these rows."""
    found = pc.value_counts(ids.present(text.filter(pa.array(rows)))[0])
    return Counter({each["values"]: each["counts"] for each in found.to_pylist() if each["values"] is not None})


def guess(word: str) -> str | None:
    """What a word may mean.

    >>> guess("Gutschrift"), guess("SALES_ORDER"), guess("gift")
    ('return', 'purchase', None)
    """
    lower = word.lower()
    return next((ours for ours, parts in MEANT.items() if any(part in lower for part in parts.split())), None)


def asked(words: Counter[str]) -> str:
    """What to say where words that are none of ours cost rows.

    >>> asked(Counter({"SALE": 3, "Refund": 2, "gift": 1}))
    "'SALE' (3), 'Refund' (2), 'gift' (1): say what they mean, perhaps --types purchase=SALE,return=Refund"
    """
    most = [(word[:40], n) for word, n in words.most_common(WORDS)]
    once = {word.lower(): word for word, _ in reversed(most)}  # --types takes any case
    guessed = ",".join(f"{ours}={word}" for word, _ in most if word in once.values() and (ours := guess(word)))
    named = ", ".join(f"{word!r} ({n:,})" for word, n in most)
    return f"{named}: say what they mean, perhaps --types {guessed or 'purchase=' + most[0][0]}"


def told(word: str, types: Mapping[str, str]) -> str:
    """What to say of a word that is none of ours, nor of those that were said.

    >>> told("Refund", {}), told("gift", {})
    ("told: 'Refund' is no event type; perhaps --types return=Refund", "told: 'gift' is no event type; see --types")
    >>> told("Refund", {"sale": "purchase"})
    "told: 'Refund' is no event type; perhaps return=Refund in --types, too"
    """
    if (ours := guess(word)) is None:
        meant = "see --types"
    else:
        meant = f"perhaps {ours}={word[:40]} in --types, too" if types else f"perhaps --types {ours}={word[:40]}"
    return f"told: {word[:40]!r} is no event type; {meant}"
