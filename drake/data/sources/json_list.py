"""The items of a JSON list one by one: a file of records may be larger than memory. For the source `release`."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from drake.errors import DrakeError

CHUNK = 1 << 20
"""Bytes that are read at once, at least."""
MOST_ITEM = 16 << 20
"""Upper limit for one item, in characters."""

_SPACE = re.compile(r"[ \t\n\r]*")


def json_items(file: BinaryIO, what: str) -> Iterator[Any]:
    """The items of the JSON list in `file`, decoded as `json.loads` does.

    what: the file's name for errors. Raises DrakeError, when it is reached, for what is no JSON, no list or too long.
    """
    text = _Text(file, what)
    start = text.next_character()
    if start != "[":
        raise _no_list(text, what)
    text.skip()
    count = 0
    separator = "" if text.next_character() != "]" else "]"
    while separator != "]":
        yield text.value(f"item {count}")
        count += 1
        separator = text.next_character()
        if separator not in (",", "]"):
            raise _invalid(what, f"',' or ']' is missing after item {count - 1}")
        if separator == ",":
            text.skip()
    text.skip()
    if text.next_character():
        raise _invalid(what, "something follows the list")


class _Text:
    """A file's text of which only the part in front of the reader is in memory."""

    def __init__(self, file: BinaryIO, what: str) -> None:
        self._file, self._what = file, what
        self._decoder: codecs.IncrementalDecoder | None = None
        self._text, self._at, self._ended = "", 0, False
        self._json = json.JSONDecoder()

    def next_character(self) -> str:
        """The next character that is no white space, which stays the next; "" at the end."""
        while True:
            self._at = _skipped(self._text, self._at)
            if self._at < len(self._text):
                return self._text[self._at]
            if self._ended:
                return ""
            self._more(CHUNK)

    def skip(self) -> None:
        """Go on to the character after the next."""
        self._at += 1

    def value(self, which: str) -> Any:
        """The next JSON value."""
        self.next_character()
        while True:
            why = "it ends there"
            try:
                value, end = self._json.raw_decode(self._text, self._at)
                # A number at the end of what has been read may go on.
                if self._ended or end < len(self._text) or isinstance(value, dict | list | str):
                    self._at = end
                    return value
            except RecursionError as error:
                raise _invalid(self._what, f"{which} is nested too deeply") from error
            except json.JSONDecodeError as error:  # perhaps only because the rest has not been read
                why = error.msg
            if self._ended:
                raise _invalid(self._what, f"{which}: {why}")
            if len(self._text) - self._at > MOST_ITEM:
                raise DrakeError(
                    f"{self._what}: {which} is no complete JSON value within {MOST_ITEM:,} characters; correct it."
                )
            self._more(max(CHUNK, len(self._text) - self._at))

    def _more(self, size: int) -> None:
        content = self._file.read(size)
        self._ended = len(content) < size
        try:
            if self._decoder is None:
                encoding = json.detect_encoding(content)
                self._decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
            more = self._decoder.decode(content, self._ended)
        except UnicodeDecodeError as error:
            raise _invalid(self._what, str(error)) from error
        self._text, self._at = self._text[self._at :] + more, 0


def _skipped(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _invalid(what: str, why: str) -> DrakeError:
    return DrakeError(f"{what} is not valid JSON ({why}); fetch it again.")


def _no_list(text: _Text, what: str) -> DrakeError:
    """The error for a file that begins with something else than a list."""
    value = text.value("its content")
    if isinstance(value, dict) and text.next_character() == "{":
        return DrakeError(
            f"{what} is not valid JSON, a file of JSON Lines perhaps; a release holds one list of records."
        )
    if text.next_character():
        return _invalid(what, "something follows its first value")
    return DrakeError(f"{what} holds a JSON {type(value).__name__} where a list of records belongs.")
