# The workers' image, and of every other `python -m streams` command. `make test` checks this file without an engine.
FROM python:3.11.14-slim-bookworm
WORKDIR /app
# Found from every directory: a container may work in one that is mounted.
ENV PYTHONUNBUFFERED=1 PYTHONPATH=/app NUMBA_CACHE_DIR=/var/cache/crm-scorer

COPY requirements/run.txt requirements/run.txt
# Wheels only: nothing is compiled here, so no compiler is needed. But for Faust, which has none for linux/arm64: its source
# installs without one, as plain Python.
RUN pip install --no-cache-dir --require-hashes --only-binary :all: \
$(test "$(uname -m)" = x86_64 || echo --no-binary faust-streaming) -r requirements/run.txt

COPY models models
COPY offline offline
COPY streams streams
RUN useradd --system --uid 10001 --no-create-home crm && install -d -o crm $NUMBA_CACHE_DIR
USER crm

# One customer through every kernel, as the user who runs them: a worker then starts without compiling. On a CPU of
# another kind it compiles anew, into the same directory.
RUN python -c "import numpy as np; \
from models.cadence import gap_of; \
from models.customers import Table; \
from models.events import decode_many, encode_event; \
from models.model import Model; \
from models.offers import Offers; \
from models.rows import load_rows, packed_rows; \
from models.clusters import Clusters; \
from models.segments import Segments; \
from streams.compose import Ahead, compose; \
from streams.keys import Keys; \
from streams.serving import Serving; \
from streams.told import Told; \
batch = decode_many([b'c'], [encode_event('e', 'purchase', 'c', 1, quantity=1, unit_price='1')], [1])[0]; \
table = Table(); rows = table.locate(batch); \
table.fold(batch, rows, batch.index, 0, np.zeros(3, np.int64)); entries = table.sweep(99); gap_of(table.observe(rows, 99)); \
kept = load_rows(packed_rows(table.rows[rows])); Offers({'a': ['b']}).texts(kept, np.zeros(1, np.int64)); \
serving = Serving(None); \
serving.take('1-19700410-00000000', Model.create(99, np.empty(0), np.empty(0), 1.0, Segments(), Clusters.one())); \
compose(Ahead(table, serving, rows, 99), rows, entries, 't:0', -1, Told(Keys()))"

# Writable where the rest is not, and filled with what was compiled.
VOLUME $NUMBA_CACHE_DIR

ENTRYPOINT ["python", "-m", "streams"]
CMD ["worker"]
