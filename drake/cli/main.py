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

from drake.cli.listing import COMMANDS, SECTIONS
from drake.cli.streams import forget_output, is_of_output, never_fail_on_characters
from drake.errors import DrakeError, UnknownName


class _Commands(click.Group):
    """The commands above, and those that other packages register."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*COMMANDS, *(entry.name for entry in entry_points(group="drake.commands"))})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            module, _, command = COMMANDS[cmd_name].partition(":")
            found: click.Command = getattr(import_module(module), command)
            return found
        return next((entry.load() for entry in entry_points(group="drake.commands", name=cmd_name)), None)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's own, with the nearest name for one that does not exist."""
        if args and not args[0].startswith("-") and args[0] not in self.list_commands(ctx):
            raise UnknownName("command", args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """A list for each section; commands of other packages come last."""
        there = self.list_commands(ctx)
        width = max(map(len, there))
        sections = {
            heading: [(name.ljust(width), listed.text) for name, listed in section.items() if name in there]
            for heading, section in SECTIONS.items()
        }
        known = {name for section in SECTIONS.values() for name in section}
        for name in there:
            command = None if name in known else self.get_command(ctx, name)
            if command is not None:
                sections.setdefault("Of other packages", []).append((name.ljust(width), command.get_short_help_str(62)))
        for heading, rows in sections.items():
            with formatter.section(heading):
                formatter.write_dl(rows)


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
