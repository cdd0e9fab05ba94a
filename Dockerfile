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

# As the user who runs them: a worker then starts without compiling. On a CPU of another kind it compiles anew, into the same
# directory.
RUN python -c "from streams.rehearsal import rehearse; rehearse()"

# Writable where the rest is not, and filled with what was compiled.
VOLUME $NUMBA_CACHE_DIR

ENTRYPOINT ["python", "-m", "streams"]
CMD ["worker"]
