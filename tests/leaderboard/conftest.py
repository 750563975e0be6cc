"""A board of two runs, for the tests of the site; the honest submission that the tests of forgeries change, and a cache
folder of their own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from drake_leaderboard import ranking, submission, tickets
from site_samples import Fabricate


@pytest.fixture
def board(fabricate: Fabricate) -> ranking.Board:
    """Two runs of a track, and the published ones."""
    fabricate("best", "fedmosaic", right=(2, 4), sent=2500, seeds=(0, 1))
    runs = fabricate("worst", "sft", right=(0, 1)).parent
    return ranking.collect([runs])


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the honest submission is kept, which is made once."""
    return tmp_path_factory.mktemp("made") / "honest"


@pytest.fixture
def honest(fabricate: Fabricate, made: Path, tmp_path: Path) -> Path:
    """A copy of the honest submission, to be forged."""
    if not made.exists():
        said = tickets.about("Fine-tuning", ["A. Author", "B. Author"], "https://example.org/paper", "owner/name")
        submission.submit(fabricate(seeds=(0, 1)), made, said=said)
    return Path(shutil.copytree(made, tmp_path / "submissions" / "honest"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DRAKE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
