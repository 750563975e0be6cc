"""Fixtures of the tests of data: a release to be written, a dataset that was built from the mini suite."""

import os
from pathlib import Path

import pytest
from build_samples import SIZES, Release

from drake.data.building import build


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return Release(tmp_path / "release")


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small built dataset; tests only read it."""
    return build(split="dirichlet-across", out=tmp_path_factory.mktemp("built") / "d", **SIZES)


@pytest.fixture
def copy(stored: Path, tmp_path: Path) -> Path:
    """A copy whose files may be spoilt; hard links, so a test replaces files and never writes into them."""
    folder = tmp_path / "copy"
    for path in stored.rglob("*"):
        if path.is_file():
            target = folder / path.relative_to(stored)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
    return folder
