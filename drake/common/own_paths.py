"""The paths and repositories that runs were begun with on this machine: what a folder from elsewhere names is opened
without a question only where it is one of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from drake.common.files import cache_folder, writing
from drake.common.outside import read_text
from drake.errors import DrakeError

FILE = "paths-of-my-runs.jsonl"
"""In the cache folder: a path that a run was begun with here on each line, as JSON text."""
MOST_BYTES = 64 << 20


def kept() -> set[str]:
    """The keys of all that were kept."""
    path = cache_folder() / FILE
    return set(_lines(path)) if path.exists() else set()


def keep(values: Iterable[str]) -> None:
    """Keep the paths for later runs; without a cache folder that can be written, nothing is kept."""
    keys = {key(value) for value in values}
    if not keys:
        return
    try:
        if new := sorted(keys - kept()):
            path = cache_folder() / FILE
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("a", encoding="utf-8") as file:  # one write, so that processes do not mix lines
                    file.write("".join(f"{json.dumps(key)}\n" for key in new))
    except DrakeError:  # a cache folder that cannot be written: the paths will be asked for again
        return


def key(value: str) -> str:
    """The same for all ways to write a path; other texts, such as repositories, as they are. `kind:FOLDER` is a source
    of public records."""
    kind, colon, place = value.rpartition(":")
    path = Path(place).expanduser()
    return f"{kind}{colon}{path.resolve()}" if path.exists() else value


def _lines(path: Path) -> Iterator[str]:
    for line in read_text(path, MOST_BYTES).splitlines():
        try:
            value = json.loads(line)
        except ValueError:  # a line that a kill cut off
            continue
        if isinstance(value, str):
            yield value
