"""The table of all settings in docs/configuration.md: `python -m drake.cli.settings_page` prints it."""

from __future__ import annotations

from dataclasses import MISSING
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from drake.cli.evaluate import evaluate
from drake.config.schema import FLAGS, Known, Names, Seeds, Shares, Starts, known_settings


def table() -> str:
    """Every setting: its full name, its option of the command line, its type, its default, its meaning."""
    flags = {full: f"`--{name.replace('_', '-')}`" for name, full in FLAGS.items()}
    rows = ["| setting | option | type | default | meaning |", "|---|---|---|---|---|"]
    for name, known in known_settings().items():
        own = "" if "." in name else f"`--{name.replace('_', '-')}`"
        cells = [
            f"`{name}`",
            flags.get(name, own) if _has_option(name) else "",
            _type(known.kind),
            _default(name, known),
        ]
        rows.append(f"| {' | '.join(cells)} | {known.setting.meaning.replace('|', ' or ')} |")
    return "\n".join(rows)


def _has_option(name: str) -> bool:
    """Whether `drake eval` has an option for the setting."""
    short = {full: flag for flag, full in FLAGS.items()}.get(name, name)
    return short in {parameter.name for parameter in evaluate.params}


def _type(kind: Any) -> str:
    words = {bool: "true, false", int: "whole number", float: "number", str: "text"}
    words |= {Names: "names", Seeds: "whole numbers", Shares: "name = number", Starts: "client = round"}
    if kind in words:
        return words[kind]
    if get_origin(kind) is Literal:
        return ", ".join(f'"{choice}"' for choice in get_args(kind))
    return ", ".join(_type(part) for part in get_args(kind) if part is not NoneType)


def _default(name: str, known: Known) -> str:
    if known.default is MISSING:
        return {"method": "", "preset": "mini"}.get(name, "the preset's")
    if known.default is None or known.default == {}:
        return ""
    if isinstance(known.default, bool):
        return str(known.default).lower()
    return ", ".join(map(str, known.default)) if isinstance(known.default, tuple) else str(known.default)


if __name__ == "__main__":
    print(table())
