"""Atomic writing of files, so that each is complete or absent; small files read with limits; the cache folder."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from drake.common.outside import MOST_JSON, read_json, read_text
from drake.errors import DrakeError

MOST_BRACKETS = MOST_DOTS = 2000
"""In a configuration file: brackets within brackets, and names of many parts, take long to read."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; renamed to `path` if the block succeeds, otherwise removed.

    Readers see the old file or the complete new one, also after a power cut. Missing parent folders are made. Raises
    DrakeError if the file cannot be written.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb+") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


_LEFT = re.compile(r"\..+\.\d+(\.[^.]+)?")
"""The names of `replacing`'s temporary files."""


def remove_half_written(folder: Path) -> None:
    """Delete, at any depth, the temporary files that `replacing` could not remove because its process was killed. For a
    folder in which no other process writes; links are not followed."""
    for place, _, names in os.walk(folder):
        for name in filter(_LEFT.fullmatch, names):
            (Path(place) / name).unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A block that writes `path`: an OSError in it (permission, space, a file in the way) becomes a DrakeError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise DrakeError(f"{path} cannot be written ({reason}); check that place or choose another.") from error


def check_folder(folder: Path) -> None:
    """Raise DrakeError unless files can be written to `folder`, or it can be made. Changes nothing; called before long
    work."""
    with writing(folder):
        place = folder.absolute()
        while not place.exists():
            place = place.parent
        if not place.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{place} is a file")
        if not os.access(place, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def read_json_object(path: Path) -> dict[str, Any]:
    """The JSON object in a small regular file, links followed, as in the Hub's cache; DrakeError for anything else."""
    return read_json(path, MOST_JSON, links=True)


def read_toml_table(path: Path) -> dict[str, Any]:
    """The table in a small regular TOML file; DrakeError for everything else, in one sentence."""
    import tomllib  # here: `drake --help` reads no file

    text = read_text(path, MOST_JSON, links=True, refused="is no valid TOML file ({}); correct it")
    if text.count("[") + text.count("{") > MOST_BRACKETS:
        raise DrakeError(f"{path} is no valid TOML file (it has more than {MOST_BRACKETS} brackets); correct it.")
    if text.count(".") > MOST_DOTS:
        raise DrakeError(f"{path} is no valid TOML file (it has more than {MOST_DOTS} dots); correct it.")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is a ValueError
        raise DrakeError(f"{path} is no valid TOML file ({error}); correct it.") from error


def cache_folder() -> Path:
    """Where files that can be made again are kept: $DRAKE_CACHE, or ~/.cache/drake."""
    return Path(os.environ.get("DRAKE_CACHE") or Path("~/.cache/drake").expanduser())
