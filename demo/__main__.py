"""`make demo`: twelve months of real purchases as history, six months live, through a real Kafka into a real Valkey.

Everything runs as a user would run it, command by command; what it prints at the end is read back from Redis.
"""

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis
from rich.console import Console

from demo import figures, services
from demo.data import cdnow
from demo.services.process import free_port
from offline.history import read as history

OUT = Path("build/demo")
BUYER, PATIENCE = "00042", 30.0  # who buys while one looks; seconds until that must show
SHOWN = ("orders", "spend", "segment", "predicted_demand", "p_buy", "customer_value", "scored_at")
COLUMNS = {"customer_id": "customer", "occurred_at": "date", "amount": "amount"}
console = Console(highlight=False, soft_wrap=True)


class DemoError(RuntimeError):
    """A step failed; the text is for the user."""


def step(title: str) -> None:
    console.print(f"\n[bold]{title}[/bold]")


def run(env: dict[str, str], *command: str, expect: tuple[int, ...] = (0,), shows: bool = True) -> str:
    """Runs a command as a user would; its progress shows, its output is printed (unless told not to) and returned."""
    console.print(f"[dim]$ python -m {' '.join(command)}[/dim]")
    done = subprocess.run([sys.executable, "-m", *command], env=os.environ | env, stdout=subprocess.PIPE, text=True)
    if shows:
        console.print(done.stdout.rstrip(), markup=False)
    if done.returncode not in expect:
        raise DemoError(f"python -m {' '.join(command)} ended with exit code {done.returncode}")
    return done.stdout


@dataclass
class Child:
    """A process of its own. told: its end was told, or is nothing to tell."""

    command: str
    process: subprocess.Popen[bytes]
    told: bool = False

    def ended(self) -> str | None:
        """That it ended, once; None while it is there."""
        if self.told or self.process.poll() is None:
            return None
        self.told = True
        return f"{self.command} ended with exit code {self.process.returncode}"


@contextlib.contextmanager
def started(env: dict[str, str], *command: str) -> Iterator[Child]:
    """A process of its own; it must still be alive at the end, unless its end was told."""
    console.print(f"[dim]$ python -m {' '.join(command)} &[/dim]")
    process = subprocess.Popen([sys.executable, "-m", *command], env=os.environ | env, stdout=subprocess.DEVNULL)
    child = Child(f"python -m {' '.join(command)}", process)
    try:
        yield child
        if ended := child.ended():
            raise DemoError(ended)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def report(store: Any, env: dict[str, str], sent: int, seconds: float, wrong: int, count: int) -> None:
    """Prints what a CRM sees now and how good the live predictions were; writes truth.json and summary.json."""
    everybody = figures.customers(store)
    step("Segments")
    console.print(figures.segments(everybody).to_string(), markup=False)
    step("Five customers, as a CRM reads them (HGETALL crm:customer:<customer_id>)")
    top = everybody.assign(value=everybody["customer_value"].astype(float)).nlargest(3, "value").index
    console.print(everybody.loc[[*top, *everybody.index[:2]]].T.to_string(), markup=False)
    truth = live(env, int(store.hget(figures.KEYS.model, "day")) - int(store.hget(figures.KEYS.meta, "cut_off")))
    window = truth["windows"][-1]
    others = window["demand"].copy()
    summary = {
        "events": sent,
        "customers": count,
        "wrong": wrong,
        "events_per_second": round(sent / seconds, 1),
        "examples_learned": truth["examples"],
        "examples_judged": window["n"],
        **others.pop("served"),
        **others,
        "model_versions": truth["versions"],
    }
    (OUT / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    console.print(f"{sent:,} events in {seconds:.0f} s, each day waiting for its model: {sent / seconds:,.0f} events/s")
    console.print(f"verify: {count:,} customers recounted with pandas, {wrong} differ; written: {OUT}/summary.json")
    if wrong:
        raise DemoError(f"{wrong} customers differ from the recount")


def live(env: dict[str, str], days: int) -> dict[str, Any]:
    """Prints how true the promises were in the last month and in all days live; the same as data."""
    step("How true it was, live: what was served for 30 days beside what came of them")
    windows = ["--days", "30", "--days", str(days)]
    run(env, "streams", "model", *windows)
    document = run(env, "streams", "model", *windows, "--json", shows=False)
    (OUT / "truth.json").write_text(document)
    truth: dict[str, Any] = json.loads(document)
    return truth


def numbers(pattern: str, text: str) -> list[int]:
    """The whole numbers that a line of a command tells.

    >>> numbers(r"sent: ([\\d,]+) events", "the history ended 3 days ago\\nsent: 12,757 events")
    [12757]
    """
    found = re.search(pattern, text)
    assert found, f"no line like {pattern!r} in: {text}"
    return [int(number.replace(",", "")) for number in found.groups()]


def demo(keep: bool) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, services.kafka() as kafka, services.valkey() as valkey:
        csv, live = Path(scratch, "purchases.csv"), Path(scratch, "live.parquet")
        env = {"CRM_KAFKA": kafka.address, "CRM_REDIS_URL": valkey.url}
        env |= {"CRM_MODELS_KEPT": "400"}  # all six months, to be counted at the end
        step(f"CDNOW: {cdnow.write_csv(csv):,} purchases, 1997-01-01 to 1998-06-30; history ends at {cdnow.CUT_OFF}")
        history.write_parquet(history.read([csv], COLUMNS).frame, live)
        columns = ",".join(f"{ours}={theirs}" for ours, theirs in COLUMNS.items())
        fit = ["--history", str(csv), "--columns", columns, "--until", cdnow.CUT_OFF, "--out", str(OUT / "fit")]
        run(env, "offline", "fit", *fit)
        run(env, "streams", "init")
        run(env, "streams", "publish", str(OUT / "fit"))
        watched = {"CRM_STATUS": str(Path(scratch, "worker")), "CRM_METRICS": str(free_port())}
        with started(env | watched, "streams", "worker") as worker:
            begun = time.monotonic()
            sent = numbers(r"sent: ([\d,]+) events", run(env, "streams", "replay", str(live)))[0]
            seconds = time.monotonic() - begun
            verdict = run(env, "streams", "verify", "--history", str(OUT / "fit"), expect=(0, 1))
            count, wrong = numbers(r"customers: ([\d,]+); wrong: ([\d,]+)", verdict)
            with Redis.from_url(valkey.url) as store:
                report(store, env, sent, seconds, wrong, count)
            if keep:
                port = free_port()
                with started(env, "streams", "api", "--port", str(port)) as api:
                    day = served(env, f"http://127.0.0.1:{port}", Path(scratch, "event.jsonl"))
                    look(env, watched, day)
                    wait([worker, api])


def served(env: dict[str, str], url: str, file: Path) -> str:
    """Prints how to ask over HTTP, then sends a purchase and what became of its customer's scores; returns the day at
    which the topic's clock stands."""
    step("Scores over HTTP. In another terminal:")
    paths = (f"customers/{BUYER}", f"customers/{BUYER}/why", '"segments/0/customers?limit=10"')
    for path in paths:
        console.print(f"curl {url}/v1/{path}".replace(f'{url}/v1/"', f'"{url}/v1/'), markup=False)
    step(f"A purchase of customer {BUYER} comes")
    before, day = asked(f"{url}/v1/customers/{BUYER}"), asked(f"{url}/v1/model")["learned_through"]
    bought = {"event_type": "purchase", "customer_id": BUYER, "occurred_at": f"{day}T00:01:00Z", "unit_price": 49.9}
    event = json.dumps(bought | {"event_id": f"demo-{time.time_ns()}", "quantity": 1})
    file.write_text(event + "\n")
    console.print(event, markup=False)
    run(env, "streams", "send", str(file))
    until = time.monotonic() + PATIENCE
    while (after := asked(f"{url}/v1/customers/{BUYER}"))["orders"] == before["orders"]:
        if time.monotonic() > until:
            raise DemoError(f"the purchase was sent {PATIENCE:.0f} s ago, and {url}/v1/customers/{BUYER} is as before")
        time.sleep(0.05)
    for name in SHOWN:
        console.print(f"{name:24} {before[name]} -> {after[name]}", markup=False)
    return str(day)


def asked(url: str) -> dict[str, Any]:
    """What the API answers, once it does."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except OSError as error:  # also a 503
            if time.monotonic() > until:
                raise DemoError(f"{url}: {error}") from None
            time.sleep(0.2)


def look(env: dict[str, str], watched: dict[str, str], day: str) -> None:
    """Prints how to look from elsewhere. watched: settings of the worker's own; day: where the topic's clock stands."""
    step("Still up until Ctrl-C. To look from another terminal, here:")
    python, url = ".venv/bin/python", env["CRM_REDIS_URL"]
    reader = f'from streams.crm.reader import CustomerScores; print(CustomerScores("{url}").get("{BUYER}"))'
    lines = [
        *(f"export {name}={value}" for name, value in env.items()),
        f"{python} -m streams status --watch",
        f"{python} -m streams show {BUYER}",
        f"{python} -c '{reader}'",
        f"redis-cli -u {url} HGETALL crm:customer:{BUYER}",
        f"CRM_STATUS={watched['CRM_STATUS']} {python} -m streams health",
        f"curl http://127.0.0.1:{watched['CRM_METRICS']}/health/ready",
        f"CRM_STATUS={watched['CRM_STATUS']}-2 CRM_METRICS=0 {python} -m streams worker    # a second one, beside it",
    ]
    console.print("\n".join(lines), markup=False)
    console.print(f"Its clock stands at {day}: an event of a later day sweeps every day between.")


def wait(children: Sequence[Child]) -> None:
    """Stays up until Ctrl-C; who ends meanwhile is told at once, for somebody may have stopped it to see what comes."""
    try:
        while True:
            tell(children)
            time.sleep(0.5)
    except KeyboardInterrupt:  # of the terminal, which they get, too
        for child in children:
            child.told = True


def tell(children: Sequence[Child]) -> None:
    """Prints who ended since it was looked last."""
    for ended in filter(None, [child.ended() for child in children]):
        console.print(f"{ended}: start another, as above, or end all by Ctrl-C", markup=False)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m demo", description=__doc__, epilog="Example: python -m demo --keep"
    )
    parser.add_argument("--keep", action="store_true", help="stay up until Ctrl-C")
    try:
        demo(parser.parse_args().keep)
    except (DemoError, services.ServiceError, history.HistoryError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
