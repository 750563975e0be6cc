"""Atomic writing of files, so that each is complete or absent; small files read with limits; the cache folder."""

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
"""Bytes of the largest JSON or TOML file that is read whole, of a run's settings for instance."""


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
        text = _small_text(path)
        if text.startswith("\ufeff"):
            raise DrakeError(f"{path} begins with a byte order mark (BOM), which JSON has not; save it without one.")
        found = json.loads(text)
        json.dumps(found, ensure_ascii=False).encode()  # half of a surrogate pair is no text that can be written
    except FileNotFoundError as error:
        raise DrakeError(f"{path} is no file; restore it.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DrakeError(f"{path} cannot be read as JSON ({error}); restore it.") from error
    if not isinstance(found, dict):
        raise DrakeError(f"{path} holds a JSON {type(found).__name__} where an object belongs; restore it.")
    return found


def read_toml_table(path: Path) -> dict[str, Any]:
    """The table in a small regular TOML file; DrakeError for everything else, in one sentence."""
    import tomllib  # here: `drake --help` reads no file

    try:
        return tomllib.loads(_small_text(path))
    except OSError as error:
        raise DrakeError(f"{path} cannot be read ({error.strerror}); name a configuration file.") from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise DrakeError(f"{path} is no valid TOML file ({error}); correct it.") from error


def _small_text(path: Path) -> str:
    """The text of a regular file of at most MOST_JSON bytes. OSError or UnicodeDecodeError where it cannot be read."""
    if path.exists() and not path.is_file():  # a folder; and reading a pipe or a device may never end
        raise DrakeError(f"{path} is no file; restore it.")
    if path.stat().st_size > MOST_JSON:
        raise DrakeError(f"{path} is larger than {MOST_JSON >> 20} MiB, so it is not what it should be.")
    return path.read_text(encoding="utf-8")


def cache_folder() -> Path:
    """Where files that can be made again are kept: $DRAKE_CACHE, or ~/.cache/drake."""
    return Path(os.environ.get("DRAKE_CACHE") or Path("~/.cache/drake").expanduser())
