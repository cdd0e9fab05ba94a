"""`python -m offline begin`: an artefact for a shop without any history."""

from datetime import UTC, datetime
from pathlib import Path

import click

from models.handover import ARTEFACT, HISTORY, HORIZON, STATES
from offline import writing
from offline.commands.common import Number, date_of, midnight, one_line

DEAREST = 10**9  # major units: what an event's amount may be at most (models/events.py), inclusive


@click.command()
@click.option("--basket", required=True, type=Number(0.01, DEAREST), help="What one spends on a day, about.")
@click.option("--horizon", default=HORIZON, show_default=True, type=click.IntRange(1, 255), help="Days of a demand.")
@click.option("--until", help="The cut-off, a date (midnight, UTC); default: today's.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Directory to write.")
def begin(basket: float, horizon: int, until: str | None, out: Path) -> None:
    """Leave in --out what `publish` takes where there is no history: models that have learned nothing.

    They learn from the first day on. Until then all scores rest on the basket and on the defaults that are printed, as
    the 0 examples of `streams models` say. Fit anew once there are four horizons of events (`streams retrain`).

    \b
    Example:
      python -m offline begin --basket 40 --out build/begin
    """
    with one_line(out):
        day = midnight(until) if until else (datetime.now(UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days
        out.mkdir(parents=True, exist_ok=True)

        import numpy as np

        from models.artefact import Artefact, encode
        from models.clusters import Clusters
        from models.model import Model
        from models.segments import Segments
        from offline.history import fold
        from offline.history.files import SCHEMA
        from offline.history.read import write_parquet

        segments, nothing = Segments(top=round(10 * basket * 10_000)), np.empty(0)
        model = Model.create(day, nothing, nothing, basket, segments, Clusters.one(), horizon)
        events = SCHEMA.empty_table().to_pandas()
        (out / ARTEFACT).unlink(missing_ok=True)
        write_parquet(events, out / HISTORY)
        fold.write_states(fold.fold(events, day, horizon).table, out / STATES)
        with writing.replacing(out / ARTEFACT) as fresh:
            fresh.write_bytes(encode(Artefact.of(model)))
        meant = zip(segments.names, segments.definitions(), strict=True)
        click.echo(f"cut-off: {date_of(day)} (midnight, UTC): from there on events are the topic's")
        click.echo(f"a purchase day: {basket:,.2f}; expectations over {horizon} days; no example learned")
        click.echo("segments, by defaults\n" + "\n".join(f"{name}: {text}" for name, text in meant))
        click.echo(segments.usual())
    click.echo(f"\nwritten: {out}/{ARTEFACT}, {HISTORY}, {STATES}; next: python -m streams publish {out}")
