"""A micro checkpoint of each family, in the files whose tests only read it or copy it."""

from __future__ import annotations

from pathlib import Path

import pytest
from micro_checkpoint import written

from drake.models.backbones import Backbone, load


@pytest.fixture(scope="module", params=["llama", "qwen"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder."""
    return written(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def backbone(folder: Path) -> Backbone:
    """The checkpoint, loaded."""
    return load(folder)
