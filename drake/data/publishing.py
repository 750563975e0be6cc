"""Dataset folders that appear complete or not at all: written under a temporary name, then renamed. For `writer`."""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

from drake.common.files import check_folder
from drake.data.manifest import MANIFEST
from drake.errors import DrakeError

LOCK = ".lock"
"""In a temporary folder: locked while its build runs."""
JUST_BEGUN = 10
"""Seconds for which a build may not have locked its folder yet."""


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
    """A new empty folder beside `folder`, on the same disk so that it can be renamed; removed at the end. Those of
    builds that were killed are removed first."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as outer, _held(Path(outer)):
        inner = Path(outer) / folder.name
        inner.mkdir()  # with the default permissions; the outer folder is readable by its owner only
        yield inner


@contextmanager
def _held(outer: Path) -> Iterator[bool]:
    """A block during which this process holds the lock of a temporary folder. False where another holds it, or where
    there are no locks. The lock ends with the process, however that ends."""
    if fcntl is None:
        yield False
        return
    with (outer / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True


def _remove_abandoned(folder: Path) -> None:
    """Delete the temporary folders of this dataset whose process is gone."""
    for outer in folder.parent.glob(f".{glob.escape(folder.name)}-????????"):
        lock = outer / LOCK
        if outer.is_symlink() or not lock.is_file() or time.time() - lock.stat().st_mtime < JUST_BEGUN:
            continue
        with _held(outer) as abandoned:
            if abandoned:
                shutil.rmtree(outer, ignore_errors=True)


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
