"""`python -m offline fit`: from history files to an artefact that `python -m streams publish` takes."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from models.handover import ARTEFACT, HISTORY, STATES
from offline import writing
from offline.commands.common import bar, called, date_of, naming, one_line, readable, scratch, source, sourced
from offline.history import elsewhere

if TYPE_CHECKING:
    from models.offers import Offers
    from offline.commands.common import Bar, Source
    from offline.demand.fit import Fit, Verdict
    from offline.history.fold import Folded
    from offline.history.read import History
    from offline.history.spill import Each


@click.command()
@source
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Directory to write.")
@click.option("--offers", type=click.Path(path_type=Path), help="What `rules --offers` wrote, to go live too.")
@click.option("--clusters", type=click.IntRange(2), help="How many; default: chosen of 3 to 8, with the reason.")
@naming
@click.option("--customers", type=click.Path(path_type=Path), help="CSV to write: everybody with all their scores.")
@click.option("--dask", help="Scheduler of a Dask cluster that cleans and folds a history of more than a million rows.")
def fit(
    out: Path, offers: Path | None, clusters: int | None, names: Path | None, customers: Path | None,
    dask: str | None, **options: Any,
) -> None:  # fmt: skip
    """Clean the history, fit segments, clusters and the demand models, judge them, and leave an artefact in --out.

    \b
    Examples:
      python -m offline fit --history orders.csv --columns customer_id=Customer,amount=Total --out build/fit
      python -m offline fit --history orders.csv --customers customers.csv --names german.yml --out build/fit
    """
    with one_line(out):
        given = sourced(**options)
        if customers:
            writing.writable(customers, "--customers")
        if names:
            readable(names, option="--names")
        out.mkdir(parents=True, exist_ok=True)  # a directory that cannot be written shows now, not after the fit
        with scratch(out) as parts:
            for name in (ARTEFACT, HISTORY, STATES):
                writing.writable(out / name)
            given.check()
            beside = _beside(offers) if offers else None
            words = called(names)
            with bar() as steps, elsewhere.each(dask) as each:
                read = given.read(steps, parts, each)

                from offline.history import past

                read.write_parquet(
                    parts / HISTORY, past.told(given.files, read.counts)
                )  # now: beside the examples there is less room
                strange = _strange(beside, parts / HISTORY) if beside else []
                verdict = _verdict(given, read, steps, each)
                folded = given.fold(read, steps, beside, each)

                from offline.demand import fit as job

                fitted = job.run(folded, given.horizon, steps.step, beside, words, clusters, verdict)
            click.echo(read.counts.table())
            click.echo(_differ(read))
            landmarks = sum(len(entries) for _, _, entries in folded.days)
            click.echo(f"\nfolded: {len(folded.table):,} customers, {landmarks:,} landmarks")
            click.echo(f"cut-off: {date_of(folded.day)} (midnight, UTC): from there on events are the topic's")
            _segments(folded, fitted)
            _live(fitted, strange)
            click.echo(f"customer_value: {fitted.worth}")
            _figures(fitted)
            _write(out, parts / HISTORY, folded, fitted)
            if customers:
                _everybody(customers, folded, fitted)
    click.echo(f"\nwritten: {out}/{ARTEFACT}, {HISTORY}, {STATES}; next: python -m streams publish {out}")


def _verdict(given: "Source", read: "History", steps: "Bar", each: "Each") -> "Verdict | None":
    """What the history tells where a stream counts another one; one of the two is held at a time."""
    if read.streamed is read:
        return None
    from offline.demand import fit as job

    return job.judge(given.fold(read.streamed, steps, each=each), given.horizon, steps.step)


def _differ(read: "History") -> str:
    """In how many sales history and stream differ, a line for each reason."""
    taken = "taken back: no sale left the history for a return that came later; a stream counts the same"
    if read.counts.cancelled:
        taken = (
            f"taken back: {read.counts.cancelled // 2:,} sales left the history with the returns that came later; a"
            " stream counts both, and so does what is judged on later time; predicted_orders and p_buy begin at what"
            " was kept, below the orders that a stream counts (--cancelled keep: with all)"
        )
    if not read.counts.filled:
        return taken
    filled = (
        f"filled in: {read.counts.filled:,} rows hold values made from other rows (--missing); a stream counts them"
        " without, and rejects a sale without money, and so does what is judged on later time"
    )
    return f"{taken}\n{filled}"


def _beside(path: Path) -> "Offers":
    readable(path, option="--offers")

    from offline.rules import offers

    return offers.read(path)


def _strange(offers: "Offers", history: Path) -> list[str]:
    """The products that the offers name and the history does not: nobody is ever offered anything beside them."""
    import pyarrow.parquet as pq

    left = {*offers.code_of}
    for batch in pq.ParquetFile(history).iter_batches(columns=["product_id"]):
        left.difference_update(batch.column(0).unique().to_pylist())
    return sorted(left)


def _segments(folded: "Folded", fitted: "Fit") -> None:
    segments, clusters = fitted.model.segments, fitted.model.clusters
    meant = zip(segments.names, segments.definitions(), strict=True)
    click.echo("\nsegments\n" + "\n".join(f"{name}: {text}" for name, text in meant))
    click.echo(segments.usual())
    click.echo(f"\n{fitted.profiles(folded).round(2).to_string()}")
    told = zip(clusters.numbers, clusters.told, strict=True)
    click.echo(f"\nclusters\n{fitted.choice}\n" + "\n".join(f"{number}: {text}" for number, text in told))


def _everybody(path: Path, folded: "Folded", fitted: "Fit") -> None:
    from offline.demand import everybody

    everybody.write(path, folded, fitted.model, fitted.predicted)
    click.echo(f"\nwritten: {path} ({len(folded.table):,} rows)")


def _live(fitted: "Fit", strange: list[str]) -> None:
    """What else goes live with the model; strange: products that the offers name and the history does not."""
    rfm, offers = fitted.model.rfm, fitted.model.offers
    spend = [f"{edge / 1e4:.2f}" for edge in rfm.spend]
    edges = [("days since last purchase", rfm.recency), ("orders", rfm.orders), ("spend", spend)]
    told = "; ".join(f"{name} {', '.join(map(str, values))}" for name, values in edges)
    click.echo(f"\nrfm, edges between fifths: {told}")
    click.echo(f"next offers: beside {len(offers.beside):,} products" if offers.beside else "next offers: none given")
    if strange:
        some = f"{', '.join(map(repr, strange[:3]))}{', ...' if len(strange) > 3 else ''}"
        click.echo(
            f"WARNING: of the {len(offers.code_of):,} products that --offers names {len(strange):,} are in no event of"
            f" this history: {some}; did a spreadsheet change their ids?"
        )


def _figures(fitted: "Fit") -> None:
    for target, judged in fitted.verdict.judged.items():
        click.echo(f"\n{target} on later time, mean of {len(judged.cuts)} cuts (spread: largest less smallest)")
        click.echo(judged.shown().round(3).to_string())
        click.echo(judged.verdict)
    if not fitted.verdict.judged:
        click.echo("\ndemand was not judged: the history leaves no cut with two horizons of later time")


def _write(out: Path, history: Path, folded: "Folded", fitted: "Fit") -> None:
    """The artefact goes first and comes last: files of two fits are never published together."""
    from models.artefact import Artefact, encode
    from offline.history import fold

    (out / ARTEFACT).unlink(missing_ok=True)
    history.replace(out / HISTORY)
    fold.write_states(folded.table, out / STATES)
    figures = {
        f"{target}/{name}": {str(k): float(v) for k, v in row.items() if math.isfinite(v)}
        for target, judged in fitted.verdict.judged.items()
        for name, row in judged.figures.iterrows()
    }
    if fitted.verdict.value:
        figures["customer_value"] = {name: float(number) for name, number in asdict(fitted.verdict.value).items()}
    cut = min((cut for judged in fitted.verdict.judged.values() for cut in judged.cuts), default=None)
    with writing.replacing(out / ARTEFACT) as fresh:
        fresh.write_bytes(encode(Artefact.of(fitted.model, figures, cut)))
