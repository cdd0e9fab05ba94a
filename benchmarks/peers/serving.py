"""The API beside a Feast feature server: the same values in the same Redis, asked in turn.

Feast has the environment that `make` makes of benchmarks/peers/feast/requirements.txt, for it stands in none of ours.
Both get as many requests as they answer, from one process, on the same cores; workers are idle.
"""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from benchmarks import run, serving
from demo.services.process import free_port
from streams.keys import Keys

FILL = Path(__file__).parent / "feast" / "fill.py"
STORE = """\
project: crm
provider: local
registry: {directory}/registry.db
online_store:
  type: redis
  connection_string: "{host}:{port},db=1"
entity_key_serialization_version: 3
"""
NUMBERS = ("predicted_demand", "predicted_demand_high", "predicted_orders", "p_buy", "customer_value", "spend")
COUNTS = ("segment_id", "cluster", "orders", "demand_horizon_days", "schema")
CONNECTIONS = {1: 32, 100: 8, 1_000: 2}  # that ask at once, by the customers of a request
Figures = dict[str, float]


def scores(where: run.Deployment, ids: Sequence[str]) -> pd.DataFrame:
    """A row a customer: what stands in the hash, numbers as numbers."""
    pipe = where.store.pipeline(transaction=False)
    for each in ids:
        pipe.hgetall(Keys().customer(each))
    hashes = [{name.decode(): text.decode() for name, text in found.items()} for found in pipe.execute()]
    frame = pd.DataFrame(hashes).astype(dict.fromkeys(NUMBERS, "float64") | dict.fromkeys(COUNTS, "int64"))
    return frame.assign(customer_id=list(ids), event_timestamp=pd.Timestamp.now("UTC"))


@contextlib.contextmanager
def feast(where: run.Deployment, environment: Path, directory: Path, frame: pd.DataFrame) -> Iterator[int]:
    """A feature server that has these values, at this port."""
    address = where.store.connection_pool.connection_kwargs
    (directory / "feature_store.yaml").write_text(STORE.format(directory=directory, **address))
    frame.to_parquet(directory / "customers.parquet")
    env = os.environ | {"FEAST_USAGE": "False"}
    filled = subprocess.run(
        [environment / "bin" / "python", FILL, directory], env=env, capture_output=True, text=True, check=False
    )
    if filled.returncode:
        raise run.BenchmarkError(f"{FILL}: {filled.stderr[-2000:]}")
    port = free_port()
    command: list[str | Path] = [
        environment / "bin" / "feast",
        "-c",
        directory,
        "serve",
        "--no-access-log",
        "--port",
        str(port),
    ]
    command += ["--max-requests", "100000000", "--registry_ttl_sec", "3600"]  # it stays as it is, and up
    with (directory / "log").open("w") as log, subprocess.Popen(command, env=env, stdout=log, stderr=log) as process:
        try:
            serving.answers(port, "/health")
            yield port
        finally:
            process.terminate()


def ask(features: Sequence[str], ids: Sequence[str]) -> str:
    """For all values of these customers, as Feast is asked."""
    return serving.post(
        "/get-online-features",
        {"features": [f"scores:{name}" for name in features], "entities": {"customer_id": list(ids)}},
    )


def asked(where: run.Deployment, environment: Path, directory: Path, said: Callable[[str], None]) -> list[Figures]:
    """By customers of a request: requests a second of the API and of Feast."""
    ids = serving.customers(where)
    frame = scores(where, ids)
    features = [str(name) for name in frame if name not in ("customer_id", "event_timestamp")]
    for name in ("ours", "theirs"):
        (directory / name).mkdir()
    ours, theirs = (serving.Requests(directory / name, ids) for name in ("ours", "theirs"))
    found: list[Figures] = []
    with serving.api(where) as mine, feast(where, environment, directory, frame) as other:
        for size, connections in CONNECTIONS.items():
            said(f"{size:,} customers a request")
            if size == 1:
                files = [ours.single(), theirs.single(lambda each: ask(features, [each]))]
            else:
                files = [ours.batches(size), theirs.batches(size, lambda each: ask(features, each))]
            ours_rate, theirs_rate = serving.rates(files, (mine, other), connections)
            found.append({"customers": size, "api": ours_rate, "feast": theirs_rate})
    return found


def measure(environment: Path, said: Callable[[str], None]) -> list[Figures]:
    """The same, on a deployment of its own; nothing where Feast is not installed."""
    if not (environment / "ready").exists():
        said(f"Feast: not installed here: no {environment / 'ready'}")
        return []
    with run.deployment(said) as where, TemporaryDirectory() as scratch:
        return asked(where, environment, Path(scratch), said)
