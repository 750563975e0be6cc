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
    """ "fedmosaic" -> "FedMosaic". A name that nobody registered stays as it is, and says so where it looks like one
    of the others. Nothing is imported."""
    classes = _classes()
    if method in classes:
        return WRITTEN.get(method, classes[method])
    names = {name.lower() for pair in (*classes.items(), *WRITTEN.items()) for name in pair}
    return f"{method} (not registered)" if method.strip().lower() in names else method


def plain_models(models: str) -> str:
    """The backbones of a track in its title: without the name of their assignment, of folders the last part."""
    return " + ".join(_plain(name) for name in re.sub(r" \([^()]*\)$", "", models).split(" + "))


def _plain(name: str) -> str:
    path = PurePath(name)
    return path.name if path.is_absolute() or name.startswith((".", "~")) else name
