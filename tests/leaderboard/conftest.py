"""A board of two runs, for the tests of the site."""

from __future__ import annotations

import pytest
from drake_leaderboard import ranking
from site_samples import Fabricate


@pytest.fixture
def board(fabricate: Fabricate) -> ranking.Board:
    """Two runs of a track, and the published ones."""
    fabricate("best", "fedmosaic", right=(2, 4), sent=2500, seeds=(0, 1))
    runs = fabricate("worst", "sft", right=(0, 1)).parent
    return ranking.collect([runs])
