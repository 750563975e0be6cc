"""Methods by name. They are entry points of the group "drake.methods", so a method somebody else publishes is found
exactly like the ones that come along; "package.module:Class" works without installing anything."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drake.errors import DrakeError, UnknownName

if TYPE_CHECKING:
    from drake.federation.method import Method

GROUP = "drake.methods"
SCORED = {"adapters": "drake.federation.foreign:ForeignAdapters"}
"""Methods of drake that train nothing, by name; `names` leaves them out. `drake eval` has options of their own for
them."""


def names() -> list[str]:
    """The registered names, sorted; nothing is imported."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def is_name(name: str) -> bool:
    """Whether a method has this name."""
    return name in SCORED or name in names()


def check(name: str) -> None:
    """UnknownName for a name that nobody registered, DrakeError for what is neither a name nor "module:Class". Nothing
    is imported; whether a "module:Class" is there shows when it is."""
    if ":" not in name and not is_name(name):
        raise UnknownName("method", name, names())
    module, colon, wanted = name.partition(":")
    if colon and not all(part.isidentifier() for part in (*module.split("."), wanted)):
        raise DrakeError(
            f"method {name!r} is neither a name of `drake methods` nor of the form package.module:Class; correct it."
        )


def named_by_folder(folder: Path, name: object, repeated: str | None) -> str:
    """The method that a run folder names, once it is certain that it may be imported: a registered one, or a
    "module:Class" that the user has named too (`repeated`). Nothing is imported here.

    A folder may come from anybody, and importing runs code. Raises DrakeError for a "module:Class" that was not
    repeated, for two different names, and for what `check` refuses.
    """
    if not isinstance(name, str):
        raise DrakeError(f"{folder} does not say which method it was made with; it is no run of `drake eval`.")
    if repeated is not None and repeated != name:
        raise DrakeError(
            f"{folder} was made with the method {name!r}, --method is {repeated!r}; they must be the same."
        )
    check(name)
    if ":" in name and repeated is None:
        raise DrakeError(
            f"{folder} names the method {name!r}, and code is not imported because a folder names it; if you trust "
            "that code, name it yourself, with --method."
        )
    return name


def find(name: str) -> type[Method]:
    """The Method class behind a registered name or a "module:Class" path; UnknownName or DrakeError otherwise."""
    check(name)

    from drake.federation.method import Method

    if name in SCORED:
        module_name, _, class_name = SCORED[name].partition(":")
        found = getattr(import_module(module_name), class_name)
    elif ":" in name:
        found = load_class("method", name)
    else:
        (entry, *_) = entry_points(group=GROUP, name=name)
        found = entry.load()
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise DrakeError(f"method {name!r} is no subclass of drake.federation.method.Method.")
    return found


def load_class(kind: str, path: str) -> Any:
    """What "package.module:Class" names, which may also lie in the working directory; DrakeError where there is none.
    kind: what a sentence calls it."""
    module_name, colon, class_name = path.partition(":")
    if not (module_name and colon and class_name):
        raise DrakeError(f"{kind} {path!r} is not of the form module:Class.")
    if "" not in sys.path:
        sys.path.insert(0, "")  # the file lies beside the user, as it would for `python -m`
    try:
        return getattr(import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise DrakeError(f"{kind} {path!r} cannot be imported: {error}.") from error
