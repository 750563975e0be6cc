"""The diagram of tie groups."""

import pytest

from drake.errors import DrakeError
from drake.results.tie_plots import bars_of, tie_groups


def test_bars_join_the_methods_of_a_letter():
    assert bars_of(["a", "ab", "b", "c"]) == [[0, 1], [1, 2]]
    assert bars_of(["z", "z(27)", "(27)"]) == [[0, 1], [1, 2]]
    assert bars_of(["a", "b", "a"]) == [[0, 2]]  # passes over the second
    assert bars_of(["a", "b"]) == []


def test_the_picture_names_every_method_with_its_score_and_letters(tmp_path):
    found = ["FedMosaic", "SFT", "FedIT"], [60.1, 58.2, 51.0], ["a", "ab", "b"]
    png, svg = tie_groups(*found, tmp_path / "ties", "Self")
    text = svg.read_text()
    for part in ("FedMosaic 60.10 (a)", "SFT 58.20 (ab)", "FedIT 51.00 (b)"):
        assert part in text
    assert text.count("stroke: #d55e00; stroke-width: 1.5;") == 2  # a bar for each letter
    assert png.read_bytes()[:4] == b"\x89PNG"
    _, again = tie_groups(*found, tmp_path / "again", "Self")
    assert again.read_bytes() == svg.read_bytes()


def test_methods_without_scores_are_refused(tmp_path):
    with pytest.raises(DrakeError, match="one score and one group for every method"):
        tie_groups(["SFT"], [], ["a"], tmp_path / "ties", "Self")
