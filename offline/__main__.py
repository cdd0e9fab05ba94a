"""`python -m offline`: the jobs over a history. Exit code 0 done, 2 cannot (one line says why)."""

import click

from offline.commands.clean import clean
from offline.commands.fit import fit
from offline.commands.segment import segment


@click.group()
def main() -> None:
    """Offline jobs: clean the history, fold it, fit the models, judge them on later time; segment any customers."""


main.add_command(clean)
main.add_command(fit)
main.add_command(segment)

if __name__ == "__main__":
    main()
