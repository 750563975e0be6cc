"""A dataset folder appears whole or not at all: it grows under a temporary name and is renamed. For `writer`."""

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
    """Raise DrakeError when a dataset cannot be put at `folder`; called early, before the work is done."""
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
    """A new empty folder beside `folder`, on the same disk so that it can be renamed; gone when done."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as outer:
        inner = Path(outer) / folder.name
        inner.mkdir()  # with the usual permissions; those of the outer one are for its owner only
        yield inner


def publish(temporary: Path, folder: Path, overwrite: bool) -> None:
    """Make `temporary` durable and give it its name; DrakeError when something appeared there meanwhile."""
    for path in (*temporary.rglob("*"), temporary):
        _fsync(path)
    if overwrite and (folder / MANIFEST).is_file():  # the old dataset steps aside, then goes
        aside = temporary.parent / "replaced"
        os.rename(folder, aside)
        os.rename(temporary, folder)
        shutil.rmtree(aside)
    else:
        try:
            os.rename(temporary, folder)  # takes the place of an empty folder, never of a full one
        except OSError as error:
            if folder.exists():
                raise DrakeError(
                    f"{folder} appeared while it was being built; choose another --out, or pass --overwrite."
                ) from error
            raise
    _fsync(folder.parent)


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
