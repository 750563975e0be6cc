"""Types of the options of the command line, and how `--help` shows the options in groups.

Text is read by `drake.config.values`, so a wrong value gives the same error in an option as in a file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import click

from drake.common.stopping import gracefully
from drake.config.schema import FLAGS, Names, Seeds, Setting, Shares, Starts, known_settings
from drake.config.values import read
from drake.errors import DrakeError

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class Value(click.ParamType):
    """A value of the type `kind` in the range of `setting`; DrakeError for any other."""

    def __init__(self, kind: Any, setting: Setting | None = None) -> None:
        self._kind, self._setting = kind, setting
        self.name = _word(kind)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return read(self._kind, value, param.opts[0] if param is not None else "value", self._setting)


def _word(kind: Any) -> str:
    """The placeholder that `--help` shows for a value of this type."""
    words = {bool: "BOOLEAN", int: "INTEGER", float: "NUMBER", Names: "NAME,...", Seeds: "SEED,..."}
    words |= {Shares: "NAME=SHARE,...", Starts: "CLIENT=ROUND,..."}
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    if kind in words:
        return words[kind]
    return "|".join(_word(part) for part in get_args(kind) if part is not NoneType) or "TEXT"


NAMES = Value(Names)
"""Comma-separated names."""
SEEDS = Value(Seeds)
"""Seeds: 0,1,2 or 0-2."""
SHARES = Value(Shares)
"""NAME=SHARE,..."""
POSITIVE = Value(int, Setting("", above=0))
POSITIVE_NUMBER = Value(float, Setting("", above=0))
NOT_NEGATIVE = Value(int, Setting("", least=0))


class GroupedOption(click.Option):
    """An option that stands under a heading in `--help`."""

    def __init__(self, *args: Any, group: str, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.group = group


class GroupedCommand(click.Command):
    """A command whose `--help` lists the options under their headings, in the order in which these first appear."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                groups.setdefault(getattr(parameter, "group", "Other"), []).append(record)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl(records)


class Resumable(click.Command):
    """A command that stores its progress and, when it is run again, continues from there."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with gracefully():
                return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise click.Abort("Stopped. The same command continues where it stopped.") from error


def option(group: str) -> Callable[..., Decorator]:
    """`click.option` for an option under the heading `group`."""

    def made(*names: str, **attributes: Any) -> Decorator:
        return click.option(*names, cls=GroupedOption, group=group, **attributes)

    return made


def setting(name: str, group: str) -> Decorator:
    """The option `--name` for a setting: type, range, meaning and default are the setting's. None when not given."""
    known = known_settings()[FLAGS.get(name, name)]
    flag = f"--{name.replace('_', '-')}"
    meaning = known.setting.meaning
    if known.default is MISSING and name != "method":
        meaning += " [default: mini]" if name == "preset" else " [default: the preset's]"
    elif known.default not in (MISSING, None, False) and known.default != {}:
        shown = ",".join(map(str, known.default)) if isinstance(known.default, tuple) else known.default
        meaning += f" [default: {shown}]"
    if known.kind is bool:
        return option(group)(f"{flag}/--no-{flag[2:]}", name, default=None, help=meaning)
    value = Value(known.kind, known.setting)
    return option(group)(flag, name, type=value, metavar=value.name, help=meaning)


def set_option(group: str = "Settings") -> Decorator:
    """`--set NAME=VALUE`, as often as wanted."""
    return option(group)(
        "--set",
        "pairs",
        multiple=True,
        metavar="NAME=VALUE",
        help="Any setting, such as training.dropout=0.1, or an option of the method, such as ditto.penalty=0.1.",
    )


def refused(flag: str, sentence: str) -> Decorator:
    """An option of an earlier version that was removed; `sentence` is the error, which names the new one."""

    def refuse(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        if value is not None:
            raise DrakeError(sentence)

    return click.option(flag, hidden=True, expose_value=False, callback=refuse)
