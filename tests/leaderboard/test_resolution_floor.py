"""The resolution floor against simulation: how often a test finds a difference of that size."""

from types import SimpleNamespace

import numpy as np
import pytest
from drake_leaderboard.resolution import Spread, resolution, smallest_difference, spread
from scipy import stats


def rows(*values, published=False):
    """values: of each method, its scores by seed from 0."""
    track = SimpleNamespace(published=published)
    return [
        SimpleNamespace(track=track, by_seed={name: dict(enumerate(x)) for name in ("self_last", "others_last")})
        for x in values
    ]


def test_the_seed_that_moves_all_methods_alike_cancels():
    found = spread(rows([0.5, 0.6, 0.7], [0.3, 0.4, 0.5]), "self_last")
    assert found.df == 2
    assert found.sigma == pytest.approx(0, abs=1e-12)
    one = spread(rows([0.5, 0.6, 0.7]), "self_last")
    assert (one.sigma, one.df) == (pytest.approx(0.1), 2)


def test_sigma_is_the_residual_of_methods_and_seeds():
    rng = np.random.default_rng(0)
    sigma = 0.01
    squares = []
    for _ in range(400):
        x = rng.normal(0, sigma, (4, 3)) + rng.normal(0, 0.05, (1, 3)) + rng.normal(0, 0.1, (4, 1))
        squares.append(spread(rows(*x), "self_last").sigma ** 2)
    assert np.mean(squares) == pytest.approx(sigma**2, rel=0.1)


@pytest.mark.parametrize(("methods", "seeds"), [(2, 3), (11, 3), (5, 6)])
def test_a_difference_of_the_floor_is_found_four_times_in_five(methods, seeds):
    rng = np.random.default_rng(1)
    df = (methods - 1) * (seeds - 1)
    floor = smallest_difference(Spread(1.0, df), seeds)
    hits = 0
    for _ in range(4000):
        x = rng.normal(0, 1, (methods, seeds)) + rng.normal(0, 3, (1, seeds))
        x[0] += floor
        found = spread(rows(*x), "self_last")
        t = (x[0] - x[1]).mean() / (found.sigma * (2 / seeds) ** 0.5)
        hits += abs(t) > stats.t.ppf(0.975, found.df)
    assert hits / 4000 == pytest.approx(0.8, abs=0.025)


def test_a_track_says_its_floor_or_why_it_has_none():
    said = resolution(rows([0.5, 0.6, 0.7], [0.3, 0.4, 0.51]))
    assert said == (
        "Resolution floor: 3 seeds show a difference of 1.9 points of Self A_last and 1.9 points of Others A_last "
        "with 80% power."
    )
    assert resolution(rows([0.5], [0.4])) == "Resolution floor: unknown, since no row has two seeds."
    assert resolution(rows([0.5, 0.6], published=True)) == ""


def test_methods_without_common_seeds_are_pooled():
    first, second = rows([0.5, 0.6], [0.3, 0.5])
    second.by_seed["self_last"] = {7: 0.3, 8: 0.5}
    found = spread([first, second], "self_last")
    assert (found.sigma, found.df) == (pytest.approx(((0.005 + 0.02) / 2) ** 0.5), 2)
