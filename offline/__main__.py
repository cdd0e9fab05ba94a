"""`python -m offline`: the jobs over a history. Exit code 0 done, 2 cannot (one line says why)."""

import signal
from typing import Any

import click

from offline.commands.begin import begin
from offline.commands.clean import clean
from offline.commands.common import AT_END
from offline.commands.demand import demand
from offline.commands.evaluate import evaluate
from offline.commands.fit import fit
from offline.commands.look import look
from offline.commands.report import report
from offline.commands.rules import rules
from offline.commands.segment import segment
from offline.commands.stock import stock
from offline.commands.value import value

INTERRUPTED = 128 + signal.SIGINT  # as shells have it


class Commands(click.Group):
    """Whom Ctrl-C ends says so, and not click's `Aborted!` with exit code 1, which is no code of these jobs."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            click.echo("offline: interrupted", err=True)
            context.exit(INTERRUPTED)


@click.group(cls=Commands)
def main() -> None:
    """Offline jobs: clean a history, fit and judge models, segment, predict demand and value, mine rules, report."""


@main.result_callback()
@click.pass_context
def _end(context: click.Context, _result: object) -> None:
    """What a command left to be said at its end."""
    for line in context.meta.get(AT_END, ()):
        click.echo(f"\n{line}")


for command in (look, clean, begin, fit, segment, evaluate, demand, stock, value, rules, report):
    main.add_command(command)

if __name__ == "__main__":
    main()
