"""Reading and writing `results.json`, and finding the run folders that hold one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from pydantic import ValidationError

from drake.common.files import replacing
from drake.common.outside import checked_texts, read_json
from drake.errors import DrakeError
from drake.results.migrations import migrated
from drake.results.schema import SCHEMA_VERSION, Results

FILE = "results.json"
MOST_BYTES = 64 << 20
"""Upper limit for the size of the file; a run of 1,000 clients and three seeds has about 45 MB."""
LINE_WIDTH = 110
"""Characters that a line of the file may have before its value is spread over several lines."""


def save(results: Results, folder: Path | str) -> Path:
    """Write `folder`/results.json and return its path. Equal results give equal bytes.

    Raises DrakeError when the parts contradict each other (a validator's sentence), so that no run ends with a file
    that cannot be read back.
    """
    path = Path(folder) / FILE
    content = results.model_dump(mode="json")
    _validated(content, path)
    with replacing(path) as temporary:
        temporary.write_text(_laid_out(content) + "\n", encoding="utf-8")
    return path


def load(folder: Path | str) -> Results:
    """The results of a run folder; files of older schemas are migrated.

    Raises DrakeError where the file is missing, no results file, invalid, or of a newer schema.
    """
    path = Path(folder) / FILE
    if not os.path.lexists(path):
        raise DrakeError(f"{folder} holds no {FILE}; name the folder that `drake eval` wrote.")
    keys: dict[str, object] = read_json(path, MOST_BYTES)
    checked_texts(keys, str(path))
    found = keys.get("schema_version")
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise DrakeError(f"{path} is not a results file: it has no schema_version; name a folder of `drake eval`.")
    if found > SCHEMA_VERSION:
        raise DrakeError(
            f"{path} has schema version {found}, but this version of drake reads up to {SCHEMA_VERSION}; "
            "install a newer version (pip install --upgrade drake-bench)."
        )
    return _validated(migrated(keys), path)


def run_folders(paths: Iterable[Path | str]) -> list[Path]:
    """The folders at or under the paths that hold results, each once, in the order of the paths and of their names.

    Raises DrakeError for a path that is no folder or holds no results.
    """
    found: dict[Path, Path] = {}  # resolved -> as named, so that a folder named twice counts once
    for path in map(Path, paths):
        if not path.is_dir():
            raise DrakeError(f"{path} is no folder; name the folder of a run, or one that holds runs.")
        here = sorted(file.parent for file in path.rglob(FILE))  # follows no links to folders
        if not here:
            raise DrakeError(f"{path} holds no {FILE}; name the folder of a run, or one that holds runs.")
        for folder in here:
            found.setdefault(folder.resolve(), folder)
    return list(found.values())


def _validated(content: dict[str, object], path: Path) -> Results:
    try:
        return Results.model_validate(content, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise DrakeError(
            f"{path} is not valid at {where}: {first['msg']} ({error.error_count()} in all); correct it or run again."
        ) from error


def _laid_out(value: object, indent: str = "") -> str:
    """JSON in which whatever fits stands on one line: matrices stay readable and version control sees rows."""
    flat = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if len(indent) + len(flat) <= LINE_WIDTH or not isinstance(value, list | dict):
        return flat
    deeper = indent + "  "
    if isinstance(value, dict):
        entries = cast("dict[str, object]", value).items()
        parts = [f"{json.dumps(key, ensure_ascii=False)}: {_laid_out(part, deeper)}" for key, part in entries]
        opening, closing = "{", "}"
    else:
        parts = [_laid_out(part, deeper) for part in cast("list[object]", value)]
        opening, closing = "[", "]"
    return f"{opening}\n{deeper}" + f",\n{deeper}".join(parts) + f"\n{indent}{closing}"
