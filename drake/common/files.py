"""Files that are either whole or absent. Every room that writes may call this."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drake.errors import DrakeError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; renamed to `path` when the block ends well, else removed.

    Readers see the old file or the whole new one, also after a power cut. Missing parent folders are made.
    Raises DrakeError when the file cannot be written.
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
    """A block that makes `path`: what the system refuses it (permission, space, a file in the way) is a DrakeError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise DrakeError(f"{path} cannot be written ({reason}); check that place or choose another.") from error


def check_folder(folder: Path) -> None:
    """DrakeError unless files can be put into `folder`, or it can be made; nothing is. Called before long work."""
    with writing(folder):
        place = folder.absolute()
        while not place.exists():
            place = place.parent
        if not place.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{place} is a file")
        if not os.access(place, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def cache_folder() -> Path:
    """Where files that can be made again are kept: $DRAKE_CACHE, or ~/.cache/drake."""
    return Path(os.environ.get("DRAKE_CACHE") or Path("~/.cache/drake").expanduser())
