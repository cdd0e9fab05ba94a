"""`python -m offline look`: what an unknown export seems to be, ready to be edited and given to every other command."""

from pathlib import Path

import click

from offline import writing
from offline.commands.common import one_line, readable
from offline.errors import OfflineError
from offline.history.policy import Policy


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--out", default=Path("shop.yml"), show_default=True, type=click.Path(path_type=Path), help="YAML to write."
)
@click.option("--encoding", help="Of a CSV file; default: found out.")
@click.option("--delimiter", help="Of a CSV file, one character or tab; default: found out.")
def look(file: Path, out: Path, encoding: str | None, delimiter: str | None) -> None:
    """Look into FILE, guess its columns, and write what was found to --out, for --shop of every other command.

    Each column stands there with three examples; what only a person can answer is a question.

    \b
    Example:
      python -m offline look orders.csv && python -m offline clean orders.csv --shop shop.yml --out cleaned.parquet
    """
    with one_line(out):
        policy = Policy(encoding=encoding, delimiter="\t" if delimiter in ("tab", "\\t") else delimiter)
        readable(file)
        writing.writable(out)
        if out.exists():
            raise OfflineError(f"--out {out}: is there already, perhaps edited; name another file")

        from offline.history import look as job

        looked = job.look(file, policy)
        text = job.document(looked, str(out))
        with writing.replacing(out) as fresh:
            fresh.write_text(text, encoding="utf-8")
    click.echo(text)
    click.echo(f"written: {out}; next: read it, then python -m offline clean {file} --shop {out} --out cleaned.parquet")
