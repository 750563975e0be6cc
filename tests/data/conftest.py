"""Fixtures of the build room."""

from pathlib import Path

import pytest
from build_samples import Release


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return Release(tmp_path / "release")
