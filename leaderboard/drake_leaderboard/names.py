"""Names as people write them: of methods and of backbones."""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import entry_points
from pathlib import PurePath

WRITTEN = {"ditto": "DITTO", "joint": "Joint training"}
"""Registered name -> how it is written where the name of the class is not."""
REFERENCES = ("joint",)
"""Methods that are no federation: the server has all data."""


@cache
def _classes() -> dict[str, str]:
    """Registered name -> name of the class. Nothing is imported."""
    return {entry.name: entry.attr for entry in entry_points(group="drake.methods")}


def display_name(method: str) -> str:
    """ "fedmosaic" -> "FedMosaic", "my_package:Mine" -> "Mine"; any other name as it is. Nothing is imported."""
    _, colon, named = method.partition(":")
    if colon and named.isidentifier():
        return named
    return WRITTEN.get(method) or _classes().get(method, method)


def plain_models(models: str) -> str:
    """The backbones of a track in its title: without the name of their assignment, of folders the last part."""
    return " + ".join(_plain(name) for name in re.sub(r" \([^()]*\)$", "", models).split(" + "))


def _plain(name: str) -> str:
    path = PurePath(name)
    return path.name if path.is_absolute() or name.startswith((".", "~")) else name
