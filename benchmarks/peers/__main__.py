"""`make bench-peers`: the product beside what one could pick instead, on one machine, in one run, in turn.

    python -m benchmarks.peers build/peers [--events 1000000] [--seconds 15] [--only loop ...]

The argument is where `make` keeps the peers' own environments. First who else scores a stream (streaming.py), then who
else serves values (serving.py). Prints tables, ratios first, and writes benchmarks/peers/results.json, if all ran.
"""

import argparse
import json
from pathlib import Path

from rich.console import Console

from benchmarks import run
from benchmarks.peers import limits, serving, streaming, tables

RESULTS = Path(__file__).with_name("results.json")
console = Console(width=160, soft_wrap=True, highlight=False)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", epilog="Example: make bench-peers")
    parser.add_argument("built", type=Path, help="where the peers' environments are")
    parser.add_argument("--events", type=int, default=1_000_000, help="of the backlog")
    parser.add_argument("--seconds", type=float, default=15.0, help="that each steady rate lasts")
    parser.add_argument("--only", nargs="+", default=[""], help="peers whose name begins so, loop among them")
    given = parser.parse_args()
    on, built = run.machine(), given.built.absolute()
    peers = tuple(peer for peer in streaming.PEERS if peer.name.startswith(tuple(given.only)))

    def said(step: str) -> None:
        console.print(step, style="dim")

    found = streaming.measure(peers, given.events, given.seconds, built, said) if peers else {}
    for table in tables.tables(found, limits.LACKS | {peer.name: peer.lacks for peer in peers}):
        console.print(table)
    served = serving.measure(built / "feast", said) if "feast".startswith(tuple(given.only)) else []
    if served:
        console.print(tables.served(served))
    if given.only == [""]:  # a run of some leaves the figures of all as they are
        RESULTS.write_text(json.dumps({"machine": on, "streaming": found, "serving": served}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    run.end(main)
