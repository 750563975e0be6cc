"""The command `drake`: finds a command by name, runs it, and turns what goes wrong into one sentence.

A DrakeError becomes that sentence and exit code 2. Heavy imports stand inside the commands, so that `drake --help` is
instant.
"""

from __future__ import annotations

import errno
import sys
from importlib import import_module
from importlib.metadata import entry_points

import click

from drake.cli.streams import forget_output, is_of_output, never_fail_on_characters
from drake.errors import DrakeError

COMMANDS = {
    "adapt": "drake.cli.unseen:adapt",
    "backbones": "drake.cli.catalog:backbones",
    "benchmarks": "drake.cli.catalog:list_benchmarks",
    "build": "drake.cli.build:build",
    "check-method": "drake.cli.tools:check_method",
    "comm": "drake.cli.tools:comm",
    "compare": "drake.cli.compare:compare",
    "convert": "drake.cli.convert:convert",
    "diff": "drake.cli.inspect:diff",
    "eval": "drake.cli.evaluate:evaluate",
    "export": "drake.cli.tools:export",
    "info": "drake.cli.dataset:info",
    "methods": "drake.cli.catalog:methods",
    "peek": "drake.cli.dataset:peek",
    "plan": "drake.cli.plan:plan",
    "plot": "drake.cli.inspect:plot",
    "push": "drake.cli.dataset:push",
    "show": "drake.cli.inspect:show",
    "transfer": "drake.cli.tools:transfer",
    "unseen": "drake.cli.unseen:unseen",
    "value": "drake.cli.value:value",
    "verify": "drake.cli.dataset:verify",
}
"""Name -> module:command. Other packages add theirs through the entry points "drake.commands"."""


class _Commands(click.Group):
    """The commands above, and those other packages register."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*COMMANDS, *(entry.name for entry in entry_points(group="drake.commands"))})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            module, _, command = COMMANDS[cmd_name].partition(":")
            found: click.Command = getattr(import_module(module), command)
            return found
        return next((entry.load() for entry in entry_points(group="drake.commands", name=cmd_name)), None)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="drake-bench", prog_name="drake")
def drake() -> None:
    """DRAKE: a benchmark and evaluation suite for personalised federated learning.

    \b
    drake build --split dynamic                               write the benchmark as a dataset folder
    drake eval --method fedmosaic --preset mini               train and score a federation
    drake leaderboard runs/*                                  rank runs
    """


def main() -> None:
    """The `drake` command."""
    never_fail_on_characters()
    try:
        drake.main(standalone_mode=False)
        sys.stdout.flush()
    except OSError as error:
        if not is_of_output(error):
            raise
        forget_output()
        if error.errno != errno.EPIPE:  # whoever reads the output may stop when it has seen enough
            click.echo(f"Error: the output cannot be written ({error.strerror}); send it elsewhere.", err=True)
        sys.exit(1 if error.errno == errno.EPIPE else 2)
    except DrakeError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except click.UsageError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort) as stopped:
        click.echo(str(stopped) or "Stopped.", err=True)
        sys.exit(130)
