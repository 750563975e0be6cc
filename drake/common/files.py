"""Atomic writing of files, so that each is complete or absent; small JSON files; the cache folder."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from drake.errors import DrakeError

MOST_JSON = 16 << 20
"""Upper limit, in bytes, for a small JSON file such as a run's settings."""


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
    """The JSON object in a small regular file; DrakeError for anything else."""
    try:
        if not path.is_file():  # a pipe would never end
            raise DrakeError(f"{path} is no file; restore it.")
        if path.stat().st_size > MOST_JSON:
            raise DrakeError(f"{path} is larger than {MOST_JSON >> 20} MiB, so it is not what it should be.")
        found = json.loads(path.read_text(encoding="utf-8"))
        json.dumps(found, ensure_ascii=False).encode()  # half a surrogate pair cannot be written as UTF-8
    except (OSError, ValueError, RecursionError) as error:
        raise DrakeError(f"{path} cannot be read as JSON ({error}); restore it.") from error
    if not isinstance(found, dict):
        raise DrakeError(f"{path} holds a JSON {type(found).__name__} where an object belongs; restore it.")
    return found


def cache_folder() -> Path:
    """Where files that can be made again are kept: $DRAKE_CACHE, or ~/.cache/drake."""
    return Path(os.environ.get("DRAKE_CACHE") or Path("~/.cache/drake").expanduser())
