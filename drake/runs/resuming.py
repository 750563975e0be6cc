"""`drake eval --resume RUN`: the options that a run was begun with, out of RUN/command.json. `drake.cli` calls this.

A run folder may come from anybody, so its options are checked like those of a command line, and three are not taken
from it: code of a method that is not registered, and the folder of encoded pictures with its size, because that one is
written to and old files in it are deleted. The user repeats them.
"""

from __future__ import annotations

import os.path
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from drake.errors import DrakeError
from drake.federation import registry
from drake.common.files import read_json_object

REPEATED = ("method", "feature_cache", "feature_cache_gb")
"""Options that may stand beside --resume."""
ELSEWHERE = ("help", "resume", "zero_shot", "out", "overwrite")
"""Parameters of `drake eval` that command.json does not hold."""


def stored_options(
    folder: Path, parameters: Sequence[click.Parameter], given: Mapping[str, Any]
) -> tuple[dict[str, Any], str | None]:
    """The arguments of a run's `drake eval`, and a note for the user if there is something to say.

    parameters: those of `drake eval`. given: their values in this call; all but `REPEATED` are the defaults. Raises
    DrakeError for a folder in which no run was begun, for options that `drake eval` does not have, lacks or cannot
    take, and for a method that may not be run (`registry.named_by_folder`).
    """
    path = folder / "command.json"
    if not os.path.isfile(path):
        raise DrakeError(f"{folder} holds no run that `drake eval` began; start one with --out {folder}.")
    stored = read_json_object(path)
    known = {parameter.name: parameter for parameter in parameters if parameter.name not in ELSEWHERE}
    again = f"give the run's options again, with --out {folder} instead of --resume"
    for name in sorted(stored.keys() ^ known.keys()):
        has = "has the unknown option" if name in stored else "lacks the option"
        raise DrakeError(f"{path} {has} {name!r}: it is damaged or of another version of drake; {again}.")
    for name, value in stored.items():
        default = None if name in REPEATED else given[name]
        if not (value is None and default is None) and not _fits(value, known[name]):
            raise DrakeError(f"{path} gives {name!r} a value that it cannot have ({value!r:.60}); {again}.")
    method = registry.named_by_folder(folder, stored["method"], given["method"])
    note = None
    if stored["feature_cache"] is not None and given["feature_cache"] is None:
        note = f"the run kept encoded pictures in {stored['feature_cache']!r}; to use them, add --feature-cache."
    options = {name: value for name, value in stored.items() if name not in REPEATED}
    return options | {"method": method}, note


def _fits(value: Any, parameter: click.Parameter) -> bool:
    """Whether a JSON value is one that the parameter could have been given."""
    if parameter.multiple:
        return isinstance(value, list) and all(isinstance(part, str) for part in value)
    kind = parameter.type
    if isinstance(kind, click.Choice):
        return value in kind.choices
    if kind.name == "boolean":
        return isinstance(value, bool)
    if kind.name == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind.name == "float":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, str)
