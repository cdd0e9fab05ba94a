"""`python -m offline`: the jobs over a history. Exit code 0 done, 2 cannot (one line says why)."""

import click

from offline.commands.clean import clean
from offline.commands.fit import fit


@click.group()
def main() -> None:
    """Offline jobs: clean the history, fold it, fit the models, judge them on later time."""


main.add_command(clean)
main.add_command(fit)

if __name__ == "__main__":
    main()
