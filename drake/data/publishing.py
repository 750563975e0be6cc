"""Dataset folders that appear complete or not at all: written under a temporary name, then renamed. For `writer`."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drake.common.files import check_folder
from drake.data.manifest import MANIFEST
from drake.errors import DrakeError


def check_target(folder: Path, overwrite: bool) -> None:
    """Raise DrakeError if a dataset cannot be put at `folder`; called before the work is done."""
    check_folder(folder.parent)
    if not folder.exists():
        return
    if not folder.is_dir():
        raise DrakeError(f"{folder} is a file; choose another --out.")
    if not any(folder.iterdir()):
        return
    if not overwrite:
        raise DrakeError(f"{folder} exists and is not empty; choose another --out, or pass --overwrite.")
    if not (folder / MANIFEST).is_file():
        raise DrakeError(f"{folder} is no built dataset, so it is not overwritten; choose another --out.")


@contextmanager
def temporary_sibling(folder: Path) -> Iterator[Path]:
    """A new empty folder beside `folder`, on the same disk so that it can be renamed; removed at the end."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as outer:
        inner = Path(outer) / folder.name
        inner.mkdir()  # with the default permissions; the outer folder is readable by its owner only
        yield inner


def publish(temporary: Path, folder: Path, overwrite: bool) -> None:
    """Flush `temporary` to disk and rename it to `folder`; DrakeError if something else is there meanwhile."""
    for path in (*temporary.rglob("*"), temporary):
        flush(path)
    if overwrite and (folder / MANIFEST).is_file():  # the old dataset is moved away, then deleted
        aside = temporary.parent / "replaced"
        os.rename(folder, aside)
        os.rename(temporary, folder)
        shutil.rmtree(aside)
    else:
        try:
            os.rename(temporary, folder)  # replaces an empty folder, never one with files
        except OSError as error:
            if folder.exists():
                raise DrakeError(
                    f"{folder} appeared while it was being built; choose another --out, or pass --overwrite."
                ) from error
            raise
    flush(folder.parent)


def flush(path: Path) -> None:
    """See that a file or a folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
