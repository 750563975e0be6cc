"""Curves of fabricated runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from drake.errors import DrakeError
from drake.results import load
from drake.results.plots import curves

Fabricate = Callable[..., Path]


def test_curves_name_every_method_and_number_repeats(fabricate: Fabricate, tmp_path: Path) -> None:
    runs = [
        load(fabricate("a", "sft", seeds=(0, 1))),
        load(fabricate("b", "fedmosaic")),
        load(fabricate("c", "sft", right=(2, 2))),
    ]
    png, svg = curves(runs, tmp_path / "pictures" / "curves.svg")
    text = svg.read_text()
    assert all(f">{label}<" in text for label in ("sft (1)", "fedmosaic", "sft (2)", "Self", "Others", "Round"))
    assert text.count('id="FillBetweenPolyCollection') == 2  # one band in each panel: one run has two seeds
    assert png.stat().st_size > 1000


def test_seeds_evaluated_at_different_rounds_are_refused(fabricate: Fabricate, tmp_path: Path) -> None:
    results = load(fabricate(seeds=(0, 1)))
    results.runs[1].rounds = [1, 4]
    with pytest.raises(DrakeError, match="evaluated at different rounds"):
        curves([results], tmp_path / "c")
