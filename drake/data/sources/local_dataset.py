"""A Hugging Face dataset in a local folder, checked before the library `datasets` opens it.

The folder's card (README.md) may say where the records lie, and the library takes any path and address there. A folder
may come from anybody, so its card may name files of the folder alone, and its links may lead nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, cast

import yaml

from drake.common.outside import MOST_DEPTH, read_text, shown
from drake.data.sources.files import inside
from drake.errors import DrakeError

CARD = "README.md"
STANDALONE = ".huggingface.yaml"
"""The same without text, which `datasets` reads too."""
MOST_CARD = 4 << 20
MOST_FILES = 1_000_000
_HEAD = re.compile(r"\A---[ \t]*\r?\n(.*?)^---[ \t]*$", re.DOTALL | re.MULTILINE)


def check_local_dataset(folder: Path) -> None:
    """Raise DrakeError where the folder's card names something outside of it, or a link leads there."""
    root = folder.expanduser()
    for number, path in enumerate(root.rglob("*")):
        if number >= MOST_FILES:
            raise DrakeError(f"{shown(root)} holds more than {MOST_FILES:,} files; name the folder of one dataset.")
        if path.is_symlink():
            try:
                inside(root, path.relative_to(root).as_posix())
            except (ValueError, OSError, RuntimeError) as error:  # RuntimeError: a loop of links
                raise DrakeError(f"{shown(path)} cannot be used: {shown(error)}.") from error
        elif not path.is_file() and not path.is_dir():
            raise DrakeError(f"{shown(path)} is no regular file, so it is not read; remove it.")
    for card in (root / CARD, root / STANDALONE):
        for named in islice(_named_files(card), MOST_FILES) if card.exists() else ():
            if "://" in named or "::" in named or "\\" in named or named.startswith("~") or _leaves(named):
                raise DrakeError(
                    f"{shown(card)} names the data files {shown(named)!r}, which lie outside of the folder; put them "
                    "into it, and name them there."
                )


def _leaves(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or "\0" in name


def _named_files(card: Path) -> Iterator[str]:
    """Every text below `data_files`, `data_dir` and `configs` of the card: of paths none may lead outside."""
    text = read_text(card, MOST_CARD, links=True)
    found = None if card.name == STANDALONE else _HEAD.match(text)
    head = _parsed(card, found[1] if found else text) if found or card.name == STANDALONE else None
    if isinstance(head, dict):
        values = cast("dict[str, Any]", head)
        yield from _texts([values.get("configs"), values.get("data_files"), values.get("data_dir")])


def _parsed(card: Path, text: str) -> Any:
    """The YAML of a card. DrakeError where it repeats parts by name: some lines could stand for terabytes."""
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or depth > MOST_DEPTH:
                raise DrakeError(f"{shown(card)} nests or repeats parts of its YAML; write them out.")
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = shown(str(error).splitlines()[0] if str(error) else type(error).__name__)
        raise DrakeError(f"{shown(card)} begins with YAML that cannot be read ({reason}); correct it.") from error


def _texts(values: Any) -> Iterator[str]:
    if isinstance(values, str):
        yield values
    elif isinstance(values, dict):
        for value in cast("dict[Any, Any]", values).values():
            yield from _texts(value)
    elif isinstance(values, list):
        for value in cast("list[Any]", values):
            yield from _texts(value)
