"""What a killed build leaves behind goes with the next one; what a running build works on stays."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from drake.data import building, publishing


def test_the_folders_of_killed_builds_are_removed(tmp_path: Path) -> None:
    dead, alive, other, fresh = (
        tmp_path / name for name in (".x-abcdefgh", ".x-running1", ".y-abcdefgh", ".x-begun123")
    )
    for outer in (dead, alive, other, fresh):
        (outer / "x").mkdir(parents=True)
        (outer / publishing.LOCK).write_text("")
        if outer != fresh:
            os.utime(outer / publishing.LOCK, (0, 0))
    (tmp_path / ".x-linked00").symlink_to(other)
    with (alive / publishing.LOCK).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with publishing.temporary_sibling(tmp_path / "x") as inner:
            assert inner.is_dir()
            assert not dead.exists()
            assert all(outer.is_dir() for outer in (alive, other, fresh))
        assert not inner.parent.exists()


def test_a_cached_suite_without_its_manifest_is_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAKE_CACHE", str(tmp_path))
    built: list[tuple[Path, bool]] = []

    def build(source: str, split: str, folder: Path, seed: int, *, overwrite: bool, **sizes: object) -> None:
        built.append((folder, overwrite))
        folder.mkdir(exist_ok=True)
        (folder / "manifest.json").write_text("{}")

    monkeypatch.setattr(building, "build", build)
    folder = building.cached_mini(train=1, test=1, public_per_world=1)
    (folder / "manifest.json").unlink()
    (folder / "data").mkdir()
    assert building.cached_mini(train=1, test=1, public_per_world=1) == folder
    assert not (folder / "data").exists()
    building.cached_mini(train=1, test=1, public_per_world=1)  # a manifest that is none: replaced by the build
    assert built == [(folder, False), (folder, False), (folder, True)]
