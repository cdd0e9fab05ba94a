"""One customer through every kernel, so that no event waits for machine code to be loaded, or compiled.

The rule: the way is that of an event in a worker, by the same functions, for a kernel is compiled for the types that it
is called with.
"""

from typing import Any

import numpy as np

from models.cadence import gap_of
from models.clusters import Clusters
from models.customers import NOTED, Table
from models.events import decode_many, encode_event
from models.model import Model
from models.offers import Offers
from models.rows import DAY, load_rows, packed_rows
from models.segments import Segments
from streams.compose import Ahead, compose
from streams.keys import Keys
from streams.serving import Serving
from streams.told import Told

PRODUCT, LATER = "p", 99  # what is bought; days until the customer is looked at


def rehearse() -> None:
    """Takes a quarter of a second where the machine code is cached, a minute and more where it is not."""
    event = encode_event("e", "purchase", "c", 1, product_id=PRODUCT, quantity=1, unit_price="1")
    batch, _ = decode_many([b"c"], [event], [1])
    serving = _serving()
    # As Partition._fold.
    table = Table(room=0)
    table.add([f"{i}" for i in range(40)])  # it grows
    rows, _ = table.lives(batch, table.ids.find(batch.customer_id))
    codes = serving.model.offers.codes(batch.product_id)
    table.fold(batch, rows, batch.index, 0, np.zeros(len(NOTED), np.int64), codes)
    entries = table.sweep(LATER)
    compose(Ahead(table, serving, rows, LATER), rows, entries, "t:0", -1, Told(Keys()))
    # As whoever loads states, and asks for a reason.
    kept = load_rows(packed_rows(table.rows[rows]))
    serving.model.offers.texts(kept, kept["at"] // DAY)
    gap_of(table.observe(rows, LATER))
    table.erase("c")


def _serving() -> Serving:
    """Of a model that has learned nothing, but has an offer."""
    nothing = np.empty(0)
    model = Model.create(LATER, nothing, nothing, 1.0, Segments(), Clusters.one())
    model.offers = Offers({PRODUCT: [PRODUCT]})
    nowhere: Any = None  # Redis is asked for nothing
    serving = Serving(nowhere)
    serving.take(f"1-19700410-{0:08x}", model)
    return serving
