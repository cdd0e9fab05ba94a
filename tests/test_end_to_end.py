"""Workers on a real Kafka and a real Valkey under real faults; at the end everything equals the truth.

`test_all_faults` is the short form; `make soak` runs the same with faults at random times.
"""

import contextlib
import hashlib
import random
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import disturbed
import jobs
import numpy as np
import one_process
import pytest
import redis
from confluent_kafka import Consumer, Producer, TopicPartition
from proxy import Fault, Proxy
from test_stream_feed import Follower, standing

from demo import services
from demo.data import cdnow
from models.events import encode_tick
from models.rows import DAY, ENTRY, PROMISED, load_rows
from offline.rules import offers
from offline.segments import kmeans
from streams import kafka as topics
from streams import store as store_module
from streams.deployment import GRACE
from streams.partitioner import partitioner
from streams.settings import Settings

CUT_OFF = 10_227  # 1998-01-01
HERE = Path(__file__).parent.parent
LEARNS = hashlib.sha1((Path(store_module.__file__).parent / "learn.lua").read_bytes()).hexdigest().encode()
CALLS = {"write": b"\r\nEXEC\r\n", "learn": LEARNS}  # what shows a call of either among the bytes


def command(env: dict[str, str], *args: str) -> str:
    """Runs a command of the product; fails the test with its output if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", *args], env=jobs.unmeasured(**env), cwd=HERE, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{args}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


class Worker:
    """A worker process that reaches Redis through a proxy of its own."""

    def __init__(self, env: dict[str, str], target: int, log: Path) -> None:
        self.proxy, self.log = Proxy(target), log
        self.proxy.__enter__()
        own = env | {"CRM_REDIS_URL": f"redis://127.0.0.1:{self.proxy.port}/0"}
        with log.open("w") as file:
            run = [sys.executable, "-m", "streams", "worker"]
            self.process = subprocess.Popen(run, env=jobs.unmeasured(**own), cwd=HERE, stdout=file, stderr=file)
        self.killed = False
        self.struck: list[str] = []

    def kill_when(self, call: str, seen: Callable[[bytes], object] = len) -> None:
        """kill -9 at the moment when it has sent a call of CALLS that `seen` picks, before Redis has it."""

        def watch(request: bytes) -> None:
            if CALLS[call] in request and seen(request) and not self.killed:
                self.kill()
                self.struck.append(call)
                raise OSError("the request of a dead process")

        self.proxy.watch = watch

    def kill(self) -> None:
        self.killed = True
        self.process.kill()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
            self.killed = True
            self.process.kill()
        self.process.wait()
        self.proxy.__exit__(None, None, None)


class Between:
    """Picks a write in the middle of a chunk or of a sweep: the guard that it writes is the one written before."""

    def __init__(self) -> None:
        self.last: dict[Any, bytes] = {}

    def __call__(self, request: bytes) -> bool:
        at = request.find(b"\r\noffset\r\n")  # the guard's first field
        if at < 0:
            return False
        guard, partition = request[at : at + 40], request[request.find(b":guard:") :][:12]
        same = self.last.get(partition) == guard
        self.last[partition] = guard
        return same


class Run:
    """One run of the product: its services, its workers, the log sent so far."""

    def __init__(self, kafka: str, valkey: services.Valkey, scratch: Path) -> None:
        self.valkey, self.scratch, self.number = valkey, scratch, 0
        self.topic = f"events-{secrets.token_hex(4)}"
        self.env = {
            "CRM_KAFKA": kafka,
            "CRM_REDIS_URL": valkey.url,
            "CRM_EVENTS_TOPIC": self.topic,
            "CRM_GROUP": self.topic,
            "CRM_BLOCK": "20",  # so that chunks and sweeps have many blocks to be struck between
            "CRM_TRAINING_DAYS": "400",
            "CRM_MODELS_KEPT": "1000",
        }
        self.settings = Settings(
            **{name.removeprefix("CRM_").lower(): value for name, value in self.env.items()}  # type: ignore[arg-type]
        )
        self.redis: Any = redis.Redis.from_url(valkey.url)
        self.follower = Follower(valkey.url, "crm")
        self.workers: list[Worker] = []
        self.struck: list[str] = []  # the named points at which workers were killed
        config = {"bootstrap.servers": kafka, "partitioner": "murmur2_random", "linger.ms": 2, "log_level": 0}
        self.producers = [Producer(config | {"compression.type": kind}) for kind in ("lz4", "zstd")]

    def start(self, n: int = 1) -> None:
        for _ in range(n):
            self.number += 1
            self.workers.append(Worker(self.env, self.valkey.port, self.scratch / f"worker{self.number}.log"))

    def stop(self, worker: Worker) -> None:
        worker.end()
        self.workers.remove(worker)

    def replace_dead(self) -> None:
        """Starts a worker for each that was killed; one that ended by itself fails the test."""
        for worker in list(self.workers):
            if worker.process.poll() is not None:
                self.struck += worker.struck
                assert worker.killed, f"a worker ended by itself: {worker.log.read_text()}"
                self.stop(worker)
                self.start()

    def send(self, records: list[disturbed.Sent], turn: int) -> None:
        producer = self.producers[turn % 2]
        for record in records:
            place: dict[str, Any] = {} if record.partition is None else {"partition": record.partition}
            producer.produce(self.topic, record.value, record.key, timestamp=record.arrival // 1000, **place)
        assert producer.flush(30) == 0

    def bounds(self) -> list[tuple[int, int]]:
        return topics.describe(self.settings).bounds

    def stands(self) -> tuple[list[tuple[int, int]], int]:
        """(offset, swept_to) of each guard, and the day of the model."""
        guards = [self.redis.hmget(f"crm:guard:{p}", "offset", "swept_to") for p in range(4)]
        return [(int(o), int(s)) for o, s in guards], int(self.redis.hget("crm:model", "day") or 0)

    def settled(self, day: int, patience: float = 240) -> None:
        """Waits until every partition is folded to its end and swept to `day`, and the model of `day` stands."""
        until, before = time.monotonic() + patience, None
        while time.monotonic() < until:
            self.replace_dead()
            ends = [high for _, high in self.bounds()]
            guards, model = now = self.stands()
            if model == day and guards == [(end, day) for end in ends]:
                return
            until, before = time.monotonic() + patience if now != before else until, now
            time.sleep(0.3)
        logs = "\n".join(worker.log.read_text()[-500:] for worker in self.workers)
        pytest.fail(f"not settled: guards {guards}, ends {ends}, model {model} of {day}\n{logs}")

    def reached(self, day: int, patience: float = 240) -> None:
        """Waits until the model of `day` stands: the stream is live when a fault strikes."""
        until, before = time.monotonic() + patience, None
        while (now := self.stands())[1] < day:
            assert time.monotonic() < until, f"no model of day {day}: {now}"
            until, before = time.monotonic() + patience if now != before else until, now
            self.replace_dead()
            time.sleep(0.1)

    def close(self) -> None:
        for worker in list(self.workers):
            self.stop(worker)
        self.redis.close()


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two artefacts of the disturbed history, and the purchases that follow it."""
    scratch = tmp_path_factory.mktemp("fitted")
    cdnow.write_csv(scratch / "all.csv")
    live = disturbed.split(scratch / "all.csv", scratch / "history.csv", CUT_OFF)
    lines = [f"p{i},p{(i + 1) % 50},,p{i * 7 % 50},,," for i in range(0, 50, 2)]
    (scratch / "offers.csv").write_text("\n".join([",".join(offers.COLUMNS), *lines]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kmeans, "RESAMPLES", 1)  # half of a fit's time goes into how stable its segments are: any will do
        for name, until in (("first", "1998-01-01"), ("second", "1997-12-20")):
            args = ["--history", scratch / "history.csv", "--until", until, "--out", scratch / name]
            jobs.run("fit", "--offers", scratch / "offers.csv", "--clusters", 3, *args)  # as many as it would choose
    return {"first": scratch / "first", "second": scratch / "second", "live": live}


@pytest.fixture
def run(kafka: str, tmp_path: Path, fitted: dict[str, Any]) -> Iterator[Run]:
    with services.valkey(directory=tmp_path / "valkey", appendonly=False) as valkey:
        made = Run(kafka, valkey, tmp_path)
        command(made.env, "streams", "init")
        command(made.env, "streams", "publish", str(fitted["first"]))
        try:
            yield made
        finally:
            made.close()


def days_of(records: list[disturbed.Sent], held: range) -> Iterator[tuple[int, list[disturbed.Sent]]]:
    """(day, its records); on the days of `held` one partition is silent, and catches up afterwards."""
    silent = belongs_to(2)
    waiting: list[disturbed.Sent] = []
    edges = np.searchsorted([r.arrival // DAY for r in records], range(CUT_OFF, records[-1].arrival // DAY + 2))
    for day, start, end in zip(range(CUT_OFF, CUT_OFF + len(edges)), edges, edges[1:], strict=False):
        now = waiting + records[start:end]
        waiting = [r for r in now if silent(r)] if day in held else []
        yield day, [r for r in now if r not in waiting] if waiting else now


def belongs_to(partition: int) -> Callable[[disturbed.Sent], bool]:
    home = partitioner("murmur2", 4)
    return lambda record: record.key is not None and record.partition is None and home(record.key.decode()) == partition


def compare(run: Run, first: Path, end: int) -> tuple[int, int]:
    """Everything in Redis and in the topic of rejects beside the one-process truth; (versions, examples) compared."""
    true = one_process.truth(run.settings, first, run.bounds(), CUT_OFF, end)
    compare_customers(run, first, true)
    entries = {}
    for p in range(4):
        for day in range(CUT_OFF + 1, end + 1):
            for name, packed in run.redis.hgetall(f"crm:training:{p}:{day}").items():
                entries[p, day, name.decode()] = one_process.promised(np.frombuffer(packed, ENTRY)[0])
    assert entries.keys() == true.entries.keys()
    assert [key for key in entries if entries[key] != true.entries[key]] == []
    assert rejects(run) == true.rejects
    compared = check_versions(run, true.entries, first, end)
    return compared, sum(np.frombuffer(e, ENTRY)[0]["open"] == 1 for e in entries.values())


def compare_customers(run: Run, first: Path, true: one_process.Truth) -> None:
    """Every customer's orders, money and dates beside pandas, every byte that is kept beside the one-process fold."""
    for worker in list(run.workers):
        run.stop(worker)
    assert "wrong: 0" in command(run.env, "streams", "verify", "--history", str(first))
    rows: dict[str, bytes] = {}
    for p in range(4):
        found = run.redis.hgetall(f"crm:state:{p}")
        states = zip(found, load_rows([*found.values()]), strict=True)
        rows |= {name.decode(): one_process.remembered(row.tobytes()) for name, row in states}
    assert rows.keys() == true.rows.keys()
    assert [name for name in rows if rows[name] != true.rows[name]] == []
    assert sum(any(row[PROMISED:]) for row in rows.values()) > 1_000, "hardly anybody bought what is offered"


def rebuild(run: Run, first: Path, end: int) -> None:
    """Half of the states are lost; a rebuild makes them anew while a worker waits, and announces nothing twice."""
    run.env["CRM_BLOCK"] = "500"
    run.start()
    run.settled(end)
    told = [run.redis.xlen(f"crm:changes:{p}") for p in range(4)]
    run.redis.delete("crm:state:1", "crm:state:2")
    command(run.env, "streams", "rebuild", "--history", str(first))
    run.settled(end)
    assert [run.redis.xlen(f"crm:changes:{p}") for p in range(4)] == told
    followed(run)
    compare_customers(run, first, one_process.truth(run.settings, first, run.bounds(), CUT_OFF, end))


def followed(run: Run) -> None:
    """Whoever copied everybody at the begin, and read the feed through it all, has the members that Redis has."""
    run.follower.catch_up()
    assert run.follower.copy == standing(run.redis, "crm")


def check_versions(run: Run, entries: dict[tuple[int, int, str], bytes], first: Path, end: int) -> int:
    """Each version that was written, bit for bit (a version's name carries the hash of its document)."""
    written = [v.decode() for v in run.redis.lrange("crm:models", 0, -1)]
    expected = {1: one_process.versions(entries, (first / "artefact.json").read_bytes(), 1, end)}
    second = next((v for v in written if v.startswith("2-")), None)
    if second is not None:
        document = run.redis.get(f"crm:model:{second}")
        expected[2] = [second, *one_process.versions(entries, document, 2, end)]
    for n, chain in expected.items():
        mine = [v for v in written if v.startswith(f"{n}-")]
        mine = mine[1:] if n == 1 else mine  # the first one is the artefact itself
        assert mine == chain[: len(mine)]
    assert written[-1] == expected[max(expected)][-1]
    return len(written)


def rejects(run: Run) -> set[tuple[int, int, str]]:
    """(partition, offset, reason) of every record in the topic of rejects."""
    consumer: Any = Consumer(
        {"bootstrap.servers": run.settings.kafka, "group.id": "none", "enable.partition.eof": True}
    )
    consumer.assign([TopicPartition(run.settings.rejected_topic, 0, 0)])
    found, ended = set(), False
    while not ended:
        for message in consumer.consume(1000, 0.2):
            if message.error():
                ended = True
                continue
            headers = {name: value.decode() for name, value in message.headers()}
            assert headers["topic"] == run.topic
            found.add((int(headers["partition"]), int(headers["offset"]), headers["reason"]))
    consumer.close()
    return found


class Faults:
    """Each method strikes the run once, wherever the stream is by then."""

    def __init__(self, run: Run, second: Path) -> None:
        self.run, self.second = run, second
        self.armed: list[str] = []  # the scripts at which workers are to be killed

    def kill_between_blocks(self) -> None:
        self.run.workers[0].kill_when("write", Between())
        self.armed.append("write")

    def kill_before_the_models_write(self) -> None:
        for worker in self.run.workers:  # the one that holds partition 0 gets there
            worker.kill_when("learn")
        self.armed.append("learn")

    def stop_past_the_session(self) -> None:
        process = self.run.workers[-1].process
        process.send_signal(signal.SIGSTOP)
        time.sleep(9)  # the session ends after 6 s: others take over
        process.send_signal(signal.SIGCONT)

    def snapshot(self) -> None:
        self.run.redis.save()
        shutil.copy(self.run.valkey.directory / "dump.rdb", self.run.scratch / "older.rdb")

    def roll_back(self) -> None:
        """Redis comes back as it was at the snapshot."""
        before = int(self.run.redis.hget("crm:model", "day"))
        self.run.valkey.stop(signal.SIGKILL)
        shutil.copy(self.run.scratch / "older.rdb", self.run.valkey.directory / "dump.rdb")
        self.run.valkey.start()
        assert int(self.run.redis.hget("crm:model", "day")) < before

    def silent_while_two_workers_come(self) -> None:
        for worker in self.run.workers:
            worker.proxy.strike(Fault.SILENT)
        self.run.start(2)  # a rebalance, from 1 worker to 3
        time.sleep(5)
        for worker in self.run.workers:
            worker.proxy.strike(Fault.PASS)

    def cut_replies(self) -> None:
        for worker in self.run.workers:
            worker.proxy.strike(Fault.CUT_REPLY, times=3)

    def only_one_worker(self) -> None:
        while len(self.run.workers) > 1:
            self.run.stop(self.run.workers[0])

    def publish_again(self) -> None:
        command(self.run.env, "streams", "publish", str(self.second))


SCHEDULE = {
    20: "kill_between_blocks",
    40: "stop_past_the_session",
    55: "snapshot",
    62: "roll_back",
    75: "kill_before_the_models_write",
    88: "only_one_worker",
    95: "silent_while_two_workers_come",
    110: "publish_again",
    120: "cut_replies",
    125: "cut_replies",
    140: "only_one_worker",
}


def play(run: Run, fitted: dict[str, Any], schedule: dict[int, str], seed: int) -> tuple[int, int]:
    """Sends the whole log while faults strike by the day, waits for its end and compares; (versions, examples)."""
    records, faults = disturbed.log(fitted["live"], seed), Faults(run, fitted["second"])
    run.follower.follow()
    run.start(2)
    run.reached(CUT_OFF)
    for turn, (day, sent) in enumerate(days_of(records, range(CUT_OFF + 30, CUT_OFF + 38))):
        run.send(sent, turn)
        if turn % 5 == 0 and turn:
            run.reached(day - 4)  # faults strike a stream that is live
        if turn in schedule:
            getattr(faults, schedule[turn])()
        run.replace_dead()
        with contextlib.suppress(redis.RedisError):
            run.follower.follow()
        time.sleep(0.05)
    end = records[-1].arrival // DAY + 1
    at = end * DAY + GRACE * 1_000_000
    run.producers[0].produce(run.topic, encode_tick(at), partition=0, timestamp=at // 1000)
    run.producers[0].flush()
    run.settled(end)
    assert set(run.struck) == set(faults.armed), "a fault did not strike"
    followed(run)
    return compare(run, fitted["first"], end)


@pytest.mark.long
@pytest.mark.e2e
@pytest.mark.timeout(1800)
def test_all_faults(run: Run, fitted: dict[str, Any]) -> None:
    """kill -9 between blocks and before a model's write, a stopped worker, Redis rolled back, silent, cut off, 1-3-1
    workers, a second artefact: rows, examples, model versions and rejects equal those of one undisturbed process."""
    versions, examples = play(run, fitted, SCHEDULE, seed=1)
    assert versions >= 150
    assert examples >= 50_000
    rebuild(run, fitted["first"], int(run.redis.hget("crm:model", "day")))


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("round_", range(3))
def test_all_faults_at_random(run: Run, fitted: dict[str, Any], round_: int) -> None:
    """The same with every fault at a random day."""
    rng = random.Random(time.time_ns())
    names = list(SCHEDULE.values())
    days = sorted(rng.sample(range(10, 170), len(names)))
    snapshot, *others = rng.sample(days, len(days))
    shuffled = rng.sample([name for name in names if name not in ("snapshot", "roll_back")], len(names) - 2)
    later = [day for day in others if day > snapshot + 5]
    roll_back = rng.choice(later) if later else days[-1] + 6
    schedule = dict(zip([day for day in others if day != roll_back], shuffled, strict=False))
    schedule |= {snapshot: "snapshot", roll_back: "roll_back"}
    print(f"round {round_}: {dict(sorted(schedule.items()))}")
    play(run, fitted, schedule, seed=rng.randrange(10**6))
