"""Classes that packages register as entry points: sources of data, methods.

A registry belongs to one group of entry points ("drake.sources"), so classes of other packages are found like those of
this one. Listing and checking names imports none of them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from drake.errors import DrakeError, UnknownName


@dataclass(frozen=True)
class Registry:
    """The entry points of one group.

    group: name of the group, such as "drake.sources". kind: word for a member in errors ("source"). base: the class
    that all members derive from, as "package.module:Class"; imported only together with a member.
    """

    group: str
    kind: str
    base: str

    def names(self) -> list[str]:
        """The registered names, sorted."""
        return sorted({entry.name for entry in entry_points(group=self.group)})

    def check(self, name: str) -> None:
        """Raise UnknownName, with the nearest registered name, for a name that is not registered."""
        known = self.names()
        if name not in known:
            raise UnknownName(self.kind, name, known)

    def find(self, name: str) -> type:
        """The class registered under a name; UnknownName if there is none, DrakeError if it cannot be imported."""
        self.check(name)
        (entry, *_) = entry_points(group=self.group, name=name)
        return self.load(entry.value)

    def load(self, path: str) -> type:
        """The class at "package.module:Class". Only for paths that a user typed: paths found in files must not be
        imported. Raises DrakeError if there is no such class, or it is not of this kind."""
        try:
            found, base = _imported(path), _imported(self.base)
        except (ImportError, AttributeError) as error:
            raise DrakeError(f"{self.kind} {path!r} cannot be imported: {error}.") from error
        if not (isinstance(found, type) and issubclass(found, base)):
            raise DrakeError(f"{self.kind} {path!r} is no subclass of {self.base.replace(':', '.')}.")
        return found


def _imported(path: str) -> Any:
    module, _, name = path.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")  # the current folder, as for `python -m`
    return getattr(import_module(module), name)
