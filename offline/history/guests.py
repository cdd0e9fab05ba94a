"""Sales to guests: the rows of a history that name no customer, which count wherever nobody asks who bought.

Rule: whatever is said of customers is made from the history without them, and says what it leaves out.
"""

from dataclasses import dataclass, replace

import pandas as pd

from models.kinds import PURCHASE
from offline.history.read import History


@dataclass(frozen=True, eq=False)
class Guests:
    """frame: their events, columns of `History.frame`, index 0..n-1."""

    frame: pd.DataFrame

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def orders(self) -> int:
        """In which they bought something."""
        return int(self.frame.loc[self.frame["kind"] == PURCHASE, "order_id"].nunique())


NOBODY = Guests(pd.DataFrame({"kind": [], "order_id": [], "amount": []}))


def apart(history: History) -> tuple[History, Guests]:
    """(the events of customers, those of guests); a history without guests is given back as it is."""
    of, guests = _apart(history.frame)
    if not len(guests):
        return history, NOBODY
    stood = None if history.stood is None else _apart(history.streamed.frame)[0]
    return replace(history, parts=of, stood=stood), Guests(guests)


def _apart(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    known = frame["customer_id"].notna()
    return frame[known].reset_index(drop=True), frame[~known].reset_index(drop=True)


def together(history: History, guests: Guests) -> History:
    """Both again, guests last: for what does not go by the order of events."""
    if not len(guests):
        return history
    return replace(history, parts=pd.concat([history.frame, guests.frame], ignore_index=True), stood=None)
