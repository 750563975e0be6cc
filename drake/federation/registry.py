"""Methods by name. They are entry points of the group "drake.methods", so a method somebody else publishes is found
exactly like the ones that come along; "package.module:Class" works without installing anything."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

from drake.errors import DrakeError, UnknownName

GROUP = "drake.methods"


def names() -> list[str]:
    """The registered names, sorted; nothing is imported."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def check(name: str) -> None:
    """UnknownName for a name that nobody registered, DrakeError for what is neither a name nor "module:Class". Nothing
    is imported; whether a "module:Class" is there shows when it is."""
    if ":" not in name and name not in names():
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


def find(name: str) -> type:
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
