"""Methods by name. They are entry points of the group "drake.methods", so a method somebody else publishes is found
exactly like the ones that come along; "package.module:Class" works without installing anything."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from drake.errors import DrakeError, UnknownName

if TYPE_CHECKING:
    from drake.federation.method import Method

GROUP = "drake.methods"


def names() -> list[str]:
    """The registered names, sorted; nothing is imported."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def check(name: str) -> None:
    """UnknownName for a name that nobody registered, without importing anything; "module:Class" paths are not looked
    at."""
    if ":" not in name and name not in names():
        raise UnknownName("method", name, names())


def find(name: str) -> type[Method]:
    """The Method class behind a registered name or a "module:Class" path; UnknownName or DrakeError otherwise."""
    check(name)

    from drake.federation.method import Method

    if ":" in name:
        module_name, class_name = name.split(":", 1)
        if "" not in sys.path:
            sys.path.insert(0, "")  # a method file lies beside the user, as it would for `python -m`
        try:
            found = getattr(import_module(module_name), class_name)
        except (ImportError, AttributeError) as error:
            raise DrakeError(f"method {name!r} cannot be imported: {error}.") from error
    else:
        (entry, *_) = entry_points(group=GROUP, name=name)
        found = entry.load()
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise DrakeError(f"method {name!r} is no subclass of drake.federation.method.Method.")
    return found
