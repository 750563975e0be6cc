"""Classes that packages register as entry points: sources of data, methods, and what comes after them.

A registry belongs to one group of entry points ("drake.sources"), so a class that somebody else publishes is found
exactly like the ones that come along. Listing and checking names imports nothing.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points

from drake.errors import DrakeError, UnknownName


@dataclass(frozen=True)
class Registry:
    """The entry points of one group.

    group: "drake.sources". kind: what errors call its members ("source"). base: the class that all of them derive
    from, as "package.module:Class", imported only when a member is.
    """

    group: str
    kind: str
    base: str

    def names(self) -> list[str]:
        """The registered names, sorted."""
        return sorted({entry.name for entry in entry_points(group=self.group)})

    def check(self, name: str) -> None:
        """UnknownName, with the nearest registered name, for a name that is not registered."""
        known = self.names()
        if name not in known:
            raise UnknownName(self.kind, name, known)

    def find(self, name: str) -> type:
        """The class behind a registered name; UnknownName for another, DrakeError where it cannot be imported."""
        self.check(name)
        (entry, *_) = entry_points(group=self.group, name=name)
        return self.load(entry.value)

    def load(self, path: str) -> type:
        """The class at "package.module:Class". For names that a user typed; a path that stands in a file is not to be
        imported. Raises DrakeError where there is no such class, or none of this kind."""
        try:
            found, base = _imported(path), _imported(self.base)
        except (ImportError, AttributeError) as error:
            raise DrakeError(f"{self.kind} {path!r} cannot be imported: {error}.") from error
        if not (isinstance(found, type) and issubclass(found, base)):
            raise DrakeError(f"{self.kind} {path!r} is no subclass of {self.base.replace(':', '.')}.")
        return found


def _imported(path: str):
    module, _, name = path.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")  # the module may lie beside the user, as it would for `python -m`
    return getattr(import_module(module), name)
