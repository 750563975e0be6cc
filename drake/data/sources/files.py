"""Reading of files in an untrusted folder: nothing outside it, regular files only, sizes limited.

The sources that read a user's folder (`release`, `folder`) call this, and so does the reading of manifests.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from pathlib import Path, PurePosixPath

from drake.data.pictures import decoded
from drake.errors import DrakeError

MOST_RECORD_BYTES = 4 << 30
"""Upper limit for a file of records."""
MOST_PICTURE_BYTES = 256 << 20
"""Upper limit for a file with one picture."""


def inside(root: Path, name: str) -> Path:
    """The path of `name` below the folder `root`, links followed; ValueError if it leads out of it.

    The file is found also if its name is in another Unicode normal form (NFC, NFD). It need not exist.
    """
    parts = PurePosixPath(name).parts
    if not parts or "\0" in name or "\\" in name or PurePosixPath(name).is_absolute() or ".." in parts:
        raise ValueError(f"{name!r} leaves the folder {root}")
    root = root.resolve()
    spellings = dict.fromkeys((name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))))
    found = next((root / spelling for spelling in spellings if (root / spelling).exists()), root / name)
    if not found.resolve().is_relative_to(root):
        raise ValueError(f"{name!r} is a link that leads out of the folder {root}")
    return found.resolve()


def check_regular(path: Path, most_bytes: int) -> int:
    """The size of a regular file; DrakeError for a larger file and for anything else (a pipe would never end)."""
    try:
        status = path.stat()
    except OSError as error:
        raise DrakeError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error
    if not stat.S_ISREG(status.st_mode):
        raise DrakeError(f"{path} is no regular file, so it is not read; put the file itself there.")
    if status.st_size > most_bytes:
        raise DrakeError(f"{path} has {status.st_size:,} bytes, more than {most_bytes:,}; split it.")
    return status.st_size


def read_regular(path: Path, most_bytes: int) -> bytes:
    """The bytes of a regular file of at most that size; DrakeError otherwise."""
    check_regular(path, most_bytes)
    try:
        # Non-blocking: if the file has become a pipe meanwhile, this must not wait for a writer.
        with os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            content = file.read(most_bytes + 1)
    except OSError as error:
        raise DrakeError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error
    if len(content) > most_bytes:
        raise DrakeError(f"{path} has more than {most_bytes:,} bytes; split it.")
    return content


class Pictures:
    """The pictures below a folder, as bytes. Each file is decoded once, to make sure that it can be."""

    def __init__(self, root: Path, prefix: str = "", hint: str = "put it there, or correct the path") -> None:
        """prefix: start of every name, removed to get the path below `root`. hint: what to do about a missing file."""
        self._root, self._prefix, self._hint = root, prefix, hint
        self._checked: set[Path] = set()

    def read(self, where: str, name: str) -> bytes:
        """The bytes of the picture `name`. where: file and record, for the error."""
        if not name.startswith(self._prefix):
            raise DrakeError(f"{where}: its image path {name!r} must begin with {self._prefix!r}.")
        try:
            path = inside(self._root, name.removeprefix(self._prefix))
            missing = not path.exists()
        except ValueError as error:
            raise DrakeError(f"{where}: its image path {name!r} cannot be used: {error}.") from error
        except (OSError, RuntimeError) as error:  # a loop of links, no permission
            raise DrakeError(f"{where}: its image {name!r} cannot be read ({error}).") from error
        if missing:
            raise DrakeError(f"{where}: its image {name} is missing; {self._hint}.")
        try:
            encoded = read_regular(path, MOST_PICTURE_BYTES)
        except DrakeError as error:
            raise DrakeError(f"{where}: its image {name} cannot be read: {error}") from error
        if path not in self._checked:
            check_picture(f"{where}: its image {name}", encoded)
            self._checked.add(path)
        return encoded


def check_picture(what: str, encoded: bytes) -> None:
    """Raise DrakeError, beginning with `what`, for bytes that cannot be decoded as a picture."""
    try:
        decoded(encoded)
    except DrakeError as error:
        raise DrakeError(f"{what} cannot be decoded: {error}") from error
