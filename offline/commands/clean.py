"""`python -m offline clean`: raw tables become one cleaned history, and a table says what happened to every row."""

from pathlib import Path
from typing import Any

import click

from offline import writing
from offline.commands.common import bar, cleaning, one_line, scratch, sourced


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@cleaning
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Parquet file to write.")
def clean(out: Path, **options: Any) -> None:
    """Clean the CSV, Excel or Parquet FILES into one history; `fit` and the other jobs take --out as their --history.

    \b
    Example:
      python -m offline clean orders.csv --columns customer_id=Customer,amount=Total --out build/cleaned.parquet
    """
    with one_line(out):
        given = sourced(**options)
        writing.writable(out)
        given.check()
        with bar() as steps, scratch(out.parent) as parts:
            read = given.read(steps, parts, whole=True)

            from offline.history import past

            read.write_parquet(out, past.told(given.files, read.counts))
    click.echo(read.counts.table())
    click.echo(f"\nwritten: {out}; next: python -m offline fit --history {out} --out DIR")
