"""What a worker takes before it looks at one event: Faust, its consumer and chunks, as streams/worker.py has them.

    python -m benchmarks.peers.consumed    (CRM_KAFKA, CRM_REDIS_URL, CRM_EVENTS_TOPIC, CRM_GROUP)

It says in Redis how far it is, and does nothing else: no peer, but what the product cannot go below.
"""

import itertools
from collections.abc import Sequence

from faust.types import TP

from benchmarks.run import PARTITIONS
from streams.settings import Settings
from streams.store import connect
from streams.transport import Chunk
from streams.wire import exchange, pack
from streams.worker import application, consume, serve, spare


class Counted:
    """The owner of all partitions, each from its first record on."""

    def __init__(self, settings: Settings) -> None:
        self.app = application(settings, PARTITIONS)
        consume(self.app, settings, self, self.passed)
        self.app.task(on_leader=False)(self.started)
        self.redis = connect(settings)
        self.epochs, self.offsets = itertools.count(1), dict[TP, int]()

    async def started(self) -> None:
        spare()

    def assigned(self, tps: set[TP]) -> None:
        for tp in tps:
            self.offsets[tp] = 0
            self.app.consumer.reader.seek_in_epoch(tp, 0, next(self.epochs))

    def revoked(self, tps: set[TP]) -> None:
        pass

    def committed(self, tp: TP) -> int | None:
        return self.offsets.get(tp)

    def doubted(self, tp: TP) -> None:
        self.app.consumer.reader.seek_in_epoch(tp, self.offsets[tp], next(self.epochs))

    async def passed(self, chunks: Sequence[Chunk]) -> None:
        for chunk in chunks:
            chunk.taken, self.offsets[chunk.tp] = True, chunk.end
        told = ((f"offset:{tp.partition}", end) for tp, end in self.offsets.items())
        await exchange(self.redis, pack(("MSET", *itertools.chain(*told))), 1)


if __name__ == "__main__":
    serve(Counted(Settings()).app)
