"""Sources of records: the procedural mini suite, the official release, a user's own data, and those of other packages,
registered as entry points of the group "drake.sources"."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drake.common.plugins import Registry
from drake.errors import DrakeError, UnknownName

if TYPE_CHECKING:
    from drake.data.sources.base import Source

SOURCES = Registry("drake.sources", "source", "drake.data.sources.base:Source")


def open_source(source: str | Path | Source, seed: int = 0, **options: Any) -> Source:
    """The source for "NAME", "NAME:ARGUMENT", a path or "package.module:Class[:ARGUMENT]"; a `Source` is returned.

    A path is given to the first registered source that recognises it. options: options of the source. Raises
    UnknownName with the nearest name, and DrakeError for a path that no source recognises or arguments that the source
    refuses.
    """
    from drake.data.sources.base import Source

    if isinstance(source, Source):
        if options:
            raise DrakeError(f"this source is constructed already; give its class the option {next(iter(options))!r}.")
        return source
    text = str(source)
    name, _, argument = text.partition(":")
    if not isinstance(source, Path):
        if name in SOURCES.names():
            return SOURCES.find(name)(argument or None, seed=seed, **options)
        if not Path(text).exists() and _is_class_path(text):
            module, class_name, *rest = text.split(":", 2)
            return SOURCES.load(f"{module}:{class_name}")(rest[0] if rest else None, seed=seed, **options)
    path = Path(text).expanduser()
    if not path.exists():
        if not isinstance(source, Path) and "/" not in name:
            raise _no_source(name, text)
        raise DrakeError(f"there is no source at {text}; {_CHOICES}.")
    for registered in SOURCES.names():
        found = SOURCES.find(registered)
        if found.recognises(path):
            return found(str(path), seed=seed, **options)
    raise DrakeError(
        f"{path} is not laid out as any source: it holds no drake.toml (your own data, docs/add-a-dataset.md) and no "
        "dataset/<name>/train/dataset-<k>.json (the official release)."
    )


_CHOICES = "give 'mini', the folder of the official release, or a folder with a drake.toml"


def _no_source(name: str, text: str) -> DrakeError:
    if _near(name):
        return UnknownName("source", name, SOURCES.names())
    return DrakeError(f"no source is called {text!r}, and there is no such folder; {_CHOICES}.")


def _near(name: str) -> bool:
    return bool(get_close_matches(name, SOURCES.names(), n=1, cutoff=0.6))


def _is_class_path(text: str) -> bool:
    """Whether a text has the form "package.module:Class" and is not a misspelt name such as "relase:PATH"."""
    module, colon, rest = text.partition(":")
    class_name = rest.partition(":")[0]
    names = (*module.split("."), class_name)
    return bool(colon) and not _near(module) and all(part.isidentifier() for part in names)
