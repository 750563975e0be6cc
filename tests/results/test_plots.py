"""Pictures are written whole, twice the same, and refuse what they cannot show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drake.errors import DrakeError
from drake.results.plots import curves, heatmap


def test_a_heatmap_shows_percent_and_leaves_holes_blank(tmp_path: Path) -> None:
    png, svg = heatmap([[0.5, None], [0.25, 1.0]], ["a", "b"], ["x", "y"], tmp_path / "m", "Transfer", percent=True)
    text = svg.read_text()
    assert all(f">{number}<" in text for number in ("50.0", "25.0", "100.0"))
    assert "nan" not in text
    assert "Transfer" in text
    with Image.open(png) as picture:
        assert min(picture.size) > 300


def test_equal_matrices_give_equal_svg_bytes(tmp_path: Path) -> None:
    matrix = np.linspace(-1, 1, 6).reshape(2, 3)
    paths = [heatmap(matrix, "ab", "xyz", tmp_path / name, "S", diverging=True)[1] for name in ("one.png", "two")]
    assert paths[0].name == "one.svg"
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["one.png", "one.svg", "two.png", "two.svg"]


def test_labels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DrakeError, match="1 row and 2 column names"):
        heatmap([[1.0]], ["a"], ["x", "y"], tmp_path / "m", "T")


def test_no_runs_cannot_be_plotted(tmp_path: Path) -> None:
    with pytest.raises(DrakeError, match="no run to plot"):
        curves([], tmp_path / "c")
