"""The one reader of files that come from outside: run folders, submissions, manifests, events, checkpoints' settings.

    read_bytes(path, most)       regular files only: no link, pipe, device or folder; size checked before reading
    read_json(path)              the same as JSON: depth limited before parsing, no key twice, no NaN
    json_lines(path)             a file of JSON Lines, such as events.jsonl, line by line
    checked_text(text, what)     printable text of bounded length, without control and bidirectional characters
    shown(text)                  any text made fit for a terminal: what is not printable becomes visible escapes
    check_regular(path)          the same before a library opens the file itself
    file_names(folder)           the files of a folder; DrakeError for links and other things that are no file

Parquet files are read by `drake.common.parquet`. All raise DrakeError: one sentence with the path. Nothing here trusts
a file's name, and a file that is exchanged while it is read is the one that was opened.
"""

from __future__ import annotations

import json
import os
import re
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from drake.errors import DrakeError

MOST_JSON = 16 << 20
"""Bytes of a JSON or TOML file that is read whole, unless the caller names another limit."""
MOST_DEPTH = 64
"""Levels of lists and objects in JSON; files of drake have at most ten."""
MOST_DIGITS = 400
"""Digits of a JSON number."""
MOST_CONTAINERS, MOST_STRINGS, MOST_VALUES = 2_000_000, 5_000_000, 8_000_000
"""Lists and objects, texts, and values of one JSON file. Empty lists take twenty times their bytes in memory; results
of 1,000 clients with three seeds have a fifth of that."""
MOST_TEXT = 1000
"""Characters of a name, reference or link."""
MOST_FILES = 20_000
"""Files in a folder from outside."""

_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)  # an unclosed one too: linear time for any text
_NESTING = re.compile(r"[\[\]{}]")


def read_bytes(path: Path, most: int = MOST_JSON, *, links: bool = False) -> bytes:
    """The bytes of a regular file of at most `most` bytes. links: whether the file itself may be a symbolic link, as
    in the Hub's cache. Raises DrakeError otherwise."""
    try:
        handle = os.open(path, _flags(links))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DrakeError(f"{shown(path)} is no file; restore it.") from error
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        if path.is_symlink():
            raise _linked(path) from error
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DrakeError(f"{shown(path)} cannot be read ({reason}); check that place.") from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise DrakeError(f"{shown(path)} is no file; restore it.")
        if status.st_size > most:
            raise _too_large(path, most)
        with os.fdopen(handle, "rb", closefd=False) as file:
            content = file.read(most + 1)
    except OSError as error:
        raise DrakeError(f"{shown(path)} cannot be read ({error.strerror}); check that place.") from error
    finally:
        os.close(handle)
    if len(content) > most:  # it grew, or its size is not what the system says
        raise _too_large(path, most)
    return content


def check_regular(path: Path, *, links: bool = False) -> None:
    """DrakeError unless the path is a regular file, for libraries that open files themselves: opening a pipe waits for
    a writer, a device has no end. links: as `read_bytes` has it."""
    try:
        mode = os.stat(path, follow_symlinks=links).st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DrakeError(f"{shown(path)} is no file; restore it.") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DrakeError(f"{shown(path)} cannot be read ({reason}); check that place.") from error
    if stat.S_ISLNK(mode):
        raise _linked(path)
    if not stat.S_ISREG(mode):
        raise DrakeError(f"{shown(path)} is no file; restore it.")


def _flags(links: bool) -> int:
    """For `os.open`. Non-blocking, since opening a pipe would wait for a writer; of no effect on regular files."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    return flags if links else flags | getattr(os, "O_NOFOLLOW", 0)


def _linked(path: Path) -> DrakeError:
    return DrakeError(f"{shown(path)} is a symbolic link, which is not followed; put the file itself there.")


def _too_large(path: Path, most: int) -> DrakeError:
    limit = f"{most >> 20} MiB" if most >= 1 << 20 else f"{most:,} bytes"
    return DrakeError(f"{shown(path)} is larger than {limit}, so it is not what it should be.")


def read_text(
    path: Path, most: int = MOST_JSON, *, links: bool = False, refused: str = "is no text ({}); restore it"
) -> str:
    """The UTF-8 text of a regular file; DrakeError otherwise. refused: the sentence about other bytes."""
    try:
        return read_bytes(path, most, links=links).decode()
    except UnicodeDecodeError as error:
        raise DrakeError(f"{shown(path)} {refused.format(error)}.") from error


def read_json(path: Path, most: int = MOST_JSON, *, links: bool = False) -> dict[str, Any]:
    """The JSON object in a file; see `parse_json`."""
    text = read_text(path, most, links=links, refused="cannot be read as JSON ({}); restore it")
    found = parse_json(text, shown(path))
    if not isinstance(found, dict):
        raise DrakeError(f"{shown(path)} holds a JSON {type(found).__name__} where an object belongs; restore it.")
    return cast("dict[str, Any]", found)


def parse_json(text: str, what: str) -> Any:
    """The JSON value of a text. what: its name for errors.

    Raises DrakeError for what is no JSON, nested deeper than `MOST_DEPTH`, of more parts than `MOST_CONTAINERS`,
    `MOST_STRINGS` and `MOST_VALUES`, or holds a key twice, NaN, an infinite number, a number of more than `MOST_DIGITS`
    digits or half of a surrogate pair.
    """
    if text.startswith("\ufeff"):
        raise DrakeError(f"{what} begins with a byte order mark (BOM), which JSON has not; save it without one.")
    parts = (text.count("[") + text.count("{"), text.count('"') // 2, text.count(","))
    if parts[0] > MOST_CONTAINERS or parts[1] > MOST_STRINGS or parts[2] > MOST_VALUES:
        raise DrakeError(
            f"{what} cannot be read as JSON (it has more than {MOST_CONTAINERS:,} lists and objects, "
            f"{MOST_STRINGS:,} texts or {MOST_VALUES:,} values); restore it."
        )
    if (deep := _depth(text)) > MOST_DEPTH:
        raise DrakeError(f"{what} cannot be read as JSON (it nests {deep} deep, more than {MOST_DEPTH}); restore it.")
    try:
        found = json.loads(
            text, object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_number, parse_int=_whole
        )
    except (ValueError, RecursionError) as error:
        raise DrakeError(f"{what} cannot be read as JSON ({error}); restore it.") from error
    if "\\u" in text:  # else no surrogate can be in it: the text was decoded
        try:
            json.dumps(found, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise DrakeError(
                f"{what} cannot be read as JSON (half of a surrogate pair is no text); restore it."
            ) from error
    return found


def _depth(text: str) -> int:
    """The deepest nesting, without parsing: brackets outside of strings. Stops one above the limit."""
    if text.count("[") + text.count("{") <= MOST_DEPTH:
        return 0
    level = deepest = 0
    for bracket in _NESTING.findall(_STRINGS.sub("", text)):
        level += 1 if bracket in "[{" else -1
        deepest = max(deepest, level)
    return deepest


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {shown(twice)!r} stands twice in one object")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _number(text: str) -> float:
    found = float(_bounded(text))
    if found in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text[:40]} is too large")
    return found


def _whole(text: str) -> int:
    return int(_bounded(text))


def _bounded(text: str) -> str:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"a number has {len(text)} digits")
    return text


def json_lines(path: Path, most: int = 256 << 20) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file of JSON Lines. A last line without its end, which a kill leaves, is passed over;
    every other line that is no JSON object is a DrakeError."""
    lines = read_text(path, most).split("\n")
    for number, line in enumerate(lines[:-1], start=1):
        where = f"line {number} of {shown(path)}"
        found = parse_json(line, where)
        if not isinstance(found, dict):
            raise DrakeError(f"{where} is no JSON object; restore it.")
        yield cast("dict[str, Any]", found)


def unprintable(text: str) -> str | None:
    """The first character of a text that is not printable, None if all are: control and format characters
    (bidirectional marks, zero width), line and paragraph separators, half surrogates, unassigned and private ones, and
    letters and marks that show nothing, such as the Hangul filler and variation selectors."""
    return None if text.isascii() and text.isprintable() else next(filter(_hidden, text), None)


_UNPRINTABLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_BLANK = {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0}.union(
    range(0x180B, 0x1810), range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0)
)
"""Default_Ignorable_Code_Point of Unicode 16 outside of those categories, and the empty Braille pattern."""


def _hidden(letter: str) -> bool:
    return unicodedata.category(letter) in _UNPRINTABLE or ord(letter) in _BLANK


def checked_text(text: object, what: str, most: int = MOST_TEXT, *, empty: bool = False) -> str:
    """The text, if it is printable and of 1 to `most` characters. what: its name for errors. empty: whether it may be
    empty or blank. Raises DrakeError otherwise."""
    if not isinstance(text, str):
        raise DrakeError(f"{what} is a {type(text).__name__}, not a text; correct it.")
    if not text.strip() and not empty:
        raise DrakeError(f"{what} is empty; name it.")
    if len(text) > most:
        raise DrakeError(f"{what} has {len(text):,} characters, more than {most:,}; shorten it.")
    if (letter := unprintable(text)) is not None:
        raise DrakeError(f"{what} holds the character U+{ord(letter):04X}, which is not printable; write it without.")
    return text


def shown(text: object, most: int = 300) -> str:
    """Any text as it may be printed: what is not printable as an escape, no longer than `most` characters."""
    plain = str(text)
    cut = plain[:most] + ("…" if len(plain) > most else "")
    return "".join(letter.encode("unicode_escape").decode() if _hidden(letter) else letter for letter in cut)


def checked_texts(value: Any, what: str, most: int = MOST_TEXT) -> None:
    """DrakeError for a text or a key anywhere in a JSON value that is not printable or longer than `most`."""
    texts: set[str] = set()
    pending = [value]
    while pending:
        part = pending.pop()
        if isinstance(part, str):
            texts.add(part)
        elif isinstance(part, dict):
            texts.update(cast("dict[str, Any]", part))
            pending.extend(cast("dict[str, Any]", part).values())
        elif isinstance(part, list):
            pending.extend(cast("list[Any]", part))
    for text in sorted(texts):
        checked_text(text, f"a text in {what} ({shown(text, 40)!r})", most, empty=True)


def file_names(folder: Path, most: int = MOST_FILES) -> set[str]:
    """The files below a folder, as paths relative to it with forward slashes. Raises DrakeError for a symbolic link,
    a pipe, a device, for more than `most` files and folders, and for names that are not printable. Links are not
    followed."""
    found: set[str] = set()
    pending, folders = [folder], 0
    while pending:
        here, folders = pending.pop(), folders + 1
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError as error:
            raise DrakeError(f"{shown(here)} cannot be read ({error.strerror}); check that place.") from error
        for entry in entries:
            path = Path(entry.path)
            if unprintable(entry.name) is not None:
                raise DrakeError(f"{shown(path)} has a name that is not printable; rename it.")
            if entry.is_symlink():
                raise _linked(path)
            if entry.is_dir(follow_symlinks=False):
                pending.append(path)
            elif entry.is_file(follow_symlinks=False):
                found.add(path.relative_to(folder).as_posix())
            else:
                raise DrakeError(f"{shown(path)} is no regular file; remove it.")
            if len(found) + len(pending) + folders > most:
                raise DrakeError(
                    f"{shown(folder)} holds more than {most:,} files and folders; name the folder of a run."
                )
    return found
