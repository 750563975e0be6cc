"""Reading of files in an untrusted folder: nothing outside it, regular files only, sizes limited.

The sources that read a user's folder (`release`, `folder`) call this, and so does the reading of manifests.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from drake.data.pictures import decoded, seems_whole
from drake.errors import DrakeError

MOST_RECORD_BYTES = 4 << 30
"""Upper limit for a file of records."""
MOST_PICTURE_BYTES = 256 << 20
"""Upper limit for a file with one picture."""
# Non-blocking, so that a pipe does not wait for a writer; a link is an error.
_QUICKLY = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def inside(root: Path, name: str, links_to: Sequence[Path] = ()) -> Path:
    """The path of `name` below the folder `root`, links followed; ValueError if it leads out of it.

    links_to: folders that links may lead to besides. In a snapshot of the Hugging Face Hub's cache, which consists of
    links, they may lead to its blobs. The file is found also if its name is in another Unicode normal form (NFC, NFD).
    It need not exist.
    """
    parts = PurePosixPath(name).parts
    if not parts or "\0" in name or "\\" in name or PurePosixPath(name).is_absolute() or ".." in parts:
        raise ValueError(f"{name!r} leaves the folder {root}")
    root = root.resolve()
    found = next((root / spelling for spelling in spellings(name) if (root / spelling).exists()), root / name)
    resolved = found.resolve()
    if not any(resolved.is_relative_to(place) for place in (root, *_blobs(root), *links_to)):
        raise ValueError(
            f"{name!r} is a link that leads out of the folder {root}; if the files belong there, name their folder "
            "(--links-to)"
        )
    return resolved


def spellings(name: str) -> Iterator[str]:
    """A name as it is, in NFC and in NFD: some file systems and archivers decompose accents."""
    yield from dict.fromkeys((name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))))


def _blobs(root: Path) -> list[Path]:
    """The folder that the links of a snapshot in the Hub's cache lead to: .../blobs for .../snapshots/COMMIT/..."""
    places = [root, *root.parents]
    return [above.parent / "blobs" for above in places if above.name == "snapshots"][:1]


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


def _plain_file(path: str, most_bytes: int) -> bytes | None:
    """The bytes of a regular file; None for a link, a larger file and whatever else cannot be read so."""
    try:
        handle = os.open(path, _QUICKLY)
    except (OSError, ValueError):
        return None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > most_bytes:
            return None
        content = os.read(handle, status.st_size)
        return content if len(content) == status.st_size else None
    except OSError:
        return None
    finally:
        os.close(handle)


class Pictures:
    """The pictures below a folder, as bytes. Each is checked when it is read."""

    def __init__(
        self,
        root: Path,
        prefix: str = "",
        hint: str = "put it there, or correct the path",
        links_to: Sequence[Path] = (),
        *,
        quick: bool = False,
    ) -> None:
        """prefix: start of every name, removed to get the path below `root`. hint: what to do about a missing file.
        links_to: see `inside`. quick: do not decode pictures whose header and end are sound (`check_whole`)."""
        self._root, self._prefix, self._hint = root.resolve(), prefix, hint
        self._links_to = [folder.expanduser().resolve() for folder in links_to]
        self._quick = quick
        self._checked: set[str] = set()
        self._folders: dict[str, str] = {}

    def read(self, where: str, name: str) -> bytes:
        """The bytes of the picture `name`. where: file and record, for the error."""
        if not name.startswith(self._prefix):
            raise DrakeError(f"{where}: its image path {name!r} must begin with {self._prefix!r}.")
        folder, _, file = name.removeprefix(self._prefix).rpartition("/")
        known = self._folders.get(folder)
        # A folder is resolved once; a file in it that is no link lies where the folder does.
        path = f"{known}/{file}" if known else ""
        encoded = _plain_file(path, MOST_PICTURE_BYTES) if known else None
        if encoded is None:
            found = self._path(where, name)
            path = str(found)
            try:
                encoded = read_regular(found, MOST_PICTURE_BYTES)
            except DrakeError as error:
                raise DrakeError(f"{where}: its image {name} cannot be read: {error}") from error
        if self._quick:
            check_whole(f"{where}: its image {name}", encoded)
        elif path not in self._checked:
            check_picture(f"{where}: its image {name}", encoded)
            self._checked.add(path)
        return encoded

    def _path(self, where: str, name: str) -> Path:
        below = name.removeprefix(self._prefix)
        folder, _, file = below.rpartition("/")
        try:
            path = inside(self._root, below, self._links_to)
            missing = not path.exists()
        except ValueError as error:
            raise DrakeError(f"{where}: its image path {name!r} cannot be used: {error}.") from error
        except (OSError, RuntimeError) as error:  # a loop of links, no permission
            raise DrakeError(f"{where}: its image {name!r} cannot be read ({error}).") from error
        if missing:
            raise DrakeError(f"{where}: its image {name} is missing; {self._hint}.")
        if path == (parent := (self._root / folder).resolve()) / file:  # the file itself is no link
            self._folders[folder] = str(parent)
        return path


def check_picture(what: str, encoded: bytes) -> None:
    """Raise DrakeError, beginning with `what`, for bytes that cannot be decoded as a picture."""
    try:
        decoded(encoded)
    except DrakeError as error:
        raise DrakeError(f"{what} cannot be decoded: {error}") from error


def check_whole(what: str, encoded: bytes) -> None:
    """Raise DrakeError, beginning with `what`, for bytes that are no whole picture.

    Quick: a picture of allowed size whose file ends as its format does is not decoded; all others are. Bytes that were
    changed in between are not found; `drake check-source` decodes every picture.
    """
    try:
        if not seems_whole(encoded):
            decoded(encoded)
    except DrakeError as error:
        raise DrakeError(f"{what} cannot be decoded: {error}") from error
