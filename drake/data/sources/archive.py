"""A tar archive that is read in place: nothing is ever extracted. The source `release` calls this.

An archive is untrusted input. It is refused as a whole, before a record is read, if a member's name is absolute or
contains "..", if a member is a device, a pipe or a sparse file, if a link leads out of the archive, if there are more
than `MOST_MEMBERS`, and if it is cut off, damaged or compressed. Of links, those to a file of the same archive are
followed.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from drake.data.sources.files import check_regular, spellings
from drake.errors import DrakeError

MOST_MEMBERS = 1_000_000
"""Upper limit for the members of one archive; the index takes about 250 bytes of memory for each."""
MOST_NAME = 4096
"""Upper limit for the length of a member's name."""
MOST_HEADER = 1 << 20
"""Upper limit of bytes for one header. The headers say themselves how long they are, and are read whole."""
MOST_LINKS = 10
"""Upper limit for links that lead to each other."""
MOST_BYTES = 1 << 50
"""Upper limit for the size of an archive."""
_SIZE_BITS = 50
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "Zstandard", b"PK": "ZIP"}


class Archive:
    """The regular files of a tar archive, by name. Raises DrakeError as described above.

    Names are relative, with forward slashes and without a leading "./". Of several members of one name, the last
    counts, as it does when an archive is extracted.
    """

    def __init__(self, path: Path, called: str | None = None) -> None:
        """called: what errors call the archive, if not by its path."""
        self.path, self._called = path, called or str(path)
        self.bytes = check_regular(path, MOST_BYTES)
        self._files: dict[str, int] = {}  # name -> offset and size in one number, which takes less memory than a tuple
        self._links: dict[str, str] = {}
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise DrakeError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error
        try:
            self._index()
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file; the archive cannot be read afterwards."""
        self._file.close()

    def forget(self, but: Iterable[str]) -> None:
        """Keep of the index only these files, to free memory."""
        kept = {name: self._files[found] for name in but if (found := self.find(name)) is not None}
        self._files, self._links = kept, {}

    def __iter__(self) -> Iterator[str]:
        """The names of all files and of all links to files."""
        yield from self._files
        yield from self._links

    def find(self, name: str) -> str | None:
        """The name of the file that `name` stands for, links followed and in whichever Unicode normal form; None if
        there is none."""
        for spelling in spellings(name):
            for _ in range(MOST_LINKS):
                if spelling in self._files:
                    return spelling
                if spelling not in self._links:
                    break
                spelling = self._links[spelling]
        return None

    def size(self, name: str) -> int:
        """The size of a file that `find` returned, in bytes."""
        return self._files[name] & ((1 << _SIZE_BITS) - 1)

    def read(self, name: str) -> bytes:
        """The content of a file that `find` returned."""
        return self._at(self._files[name] >> _SIZE_BITS, self.size(name))

    def open(self, name: str) -> BinaryIO:
        """A file that `find` returned, to be read from its beginning."""
        return io.BufferedReader(_Window(self, self._files[name] >> _SIZE_BITS, self.size(name)), 1 << 20)

    def _at(self, offset: int, size: int) -> bytes:
        try:
            content = os.pread(self._file.fileno(), size, offset)  # what is read whole has less than 2 GiB
        except OSError as error:
            raise DrakeError(f"{self.path} cannot be read ({error.strerror}).") from error
        if len(content) < size:
            raise self._refused("was cut off while it was read", "fetch it again")
        return content

    def _index(self) -> None:
        again = "fetch it again"
        start = self._at(0, min(8, self.bytes))
        for mark, name in _COMPRESSED.items():
            if start.startswith(mark):
                raise self._refused(
                    f"is compressed ({name}), and only plain tar archives are read", "unpack it to .tar"
                )
        try:
            headers: Any = _Headers(self._file)
            with tarfile.open(fileobj=headers, mode="r:") as opened:
                tar: Any = opened  # whose attribute `members` has no type
                count = 0
                while (member := tar.next()) is not None:
                    count += 1
                    if count > MOST_MEMBERS:
                        raise self._refused(f"has more than {MOST_MEMBERS:,} members", "split it")
                    self._add(member)
                    tar.members = []  # otherwise it keeps an object for each, a kilobyte or more
                end = tar.offset
        except DrakeError:
            raise
        except _TooLong as error:
            raise self._refused("has a header that claims to be very long", again) from error
        except (tarfile.TarError, RecursionError, ValueError, OverflowError, EOFError, OSError) as error:
            raise self._refused(f"cannot be read as a tar archive ({error})", again) from error
        if any(self._at(end, min(tarfile.BLOCKSIZE, max(0, self.bytes - end)))):
            raise self._refused(f"is damaged at byte {end:,}", again)

    def _add(self, member: tarfile.TarInfo) -> None:
        shown = repr(member.name[:200])
        if len(member.name) > MOST_NAME:
            raise self._refused(f"has a member with a name of {len(member.name):,} characters")
        name = self._inside(member.name)
        if name is None:
            raise self._refused(f"has a member called {shown}, which leads out of the folder that it belongs in")
        if not isinstance(member.size, int) or member.size < 0:
            raise self._refused(f"has a member {shown} of {member.size} bytes")
        if member.issym() or member.islnk():
            base = PurePosixPath(name).parent if member.issym() else PurePosixPath()
            target = None if len(member.linkname) > MOST_NAME else self._inside(str(base), member.linkname)
            if target is None:
                raise self._refused(f"has a link {shown} to {member.linkname[:200]!r}, out of the archive")
            self._links[name] = target
            self._files.pop(name, None)
        elif member.issparse():
            raise self._refused(f"has a sparse member {shown}, which can claim any size")
        elif member.isreg():
            if member.offset_data + member.size > self.bytes:
                raise self._refused(f"is cut off: its member {shown} ends after the end of the file", "fetch it again")
            self._files[name] = member.offset_data << _SIZE_BITS | member.size
            self._links.pop(name, None)
        elif not member.isdir():
            kind = "pipe" if member.isfifo() else "device" if member.isdev() else f"member of type {member.type!r}"
            raise self._refused(f"has a {kind} {shown}, where only files and folders belong")

    @staticmethod
    def _inside(*pieces: str) -> str | None:
        """The path made of the pieces, normalised; None if one is absolute or the path leads out of the archive."""
        parts: list[str] = []
        for piece in pieces:
            if piece.startswith("/") or "\0" in piece or "\\" in piece:
                return None
            for part in piece.split("/"):
                if part == ".." and (len(pieces) == 1 or not parts):  # names may not have any, links of the archive may
                    return None
                if part == "..":
                    parts.pop()
                elif part not in ("", "."):
                    parts.append(part)
        return "/".join(parts)

    def _refused(self, why: str, remedy: str = "do not use it") -> DrakeError:
        return DrakeError(f"the archive {self._called} {why}; {remedy}.")


class _TooLong(Exception):
    """A header claims to be longer than `MOST_HEADER`."""


class _Headers:
    """The part of a file's interface that `tarfile` reads headers by; refuses to read much at once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.tell, self.seek = file.tell, file.seek

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MOST_HEADER:
            raise _TooLong
        return self._file.read(size)


class _Window(io.RawIOBase):
    """A part of an archive as a file."""

    def __init__(self, archive: Archive, offset: int, size: int) -> None:
        super().__init__()
        self._archive, self._offset, self._left = archive, offset, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        content = self._archive._at(self._offset, min(len(buffer), self._left))
        buffer[: len(content)] = content
        self._offset += len(content)
        self._left -= len(content)
        return len(content)
