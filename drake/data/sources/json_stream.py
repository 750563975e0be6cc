"""The items of a JSON list in a file that may be larger than memory, one after another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from drake.errors import DrakeError

CHUNK = 4 << 20
"""Characters that are read at once."""
MOST_ITEM = 64 << 20
"""Characters of the longest item; a longer one is taken for a fault of the file."""
_BETWEEN = " \t\r\n,"
_AFTER = _BETWEEN + "]"


def items(path: Path) -> Iterator[Any]:
    """The items of the list, in order. Memory holds one chunk and one item. DrakeError for a file that cannot be read,
    is no JSON list, or is cut off."""
    decoder, text, place, ended = json.JSONDecoder(), "", 0, False
    try:
        with path.open(encoding="utf-8") as file:
            head = " "
            while head and not (text := head.lstrip()):
                head = file.read(CHUNK)
            if not text.startswith("["):
                raise DrakeError(f"{path} holds no JSON list; it must be a list of records.")
            place = 1
            while True:
                while place < len(text) and text[place] in _BETWEEN:
                    place += 1
                if place < len(text) and text[place] == "]":
                    return
                try:
                    item, end = decoder.raw_decode(text, place)
                    if ended or text[end : end + 1] in tuple(_AFTER):  # a number may go on in the next chunk
                        yield item
                        place = end
                        continue
                except json.JSONDecodeError as error:
                    if ended or len(text) - place > MOST_ITEM:
                        raise DrakeError(
                            f"{path} is no valid JSON list, or is cut off ({error}); get it again."
                        ) from error
                more = file.read(CHUNK)
                ended = not more
                text, place = text[place:] + more, 0
    except RecursionError as error:
        raise DrakeError(f"{path} is nested too deeply to be a list of records; fetch it again.") from error
    except OSError as error:
        raise DrakeError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error
    except UnicodeDecodeError as error:
        raise DrakeError(f"{path} is no UTF-8 text ({error}); fetch it again.") from error
