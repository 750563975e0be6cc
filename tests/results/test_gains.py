"""What federation is worth, on examples computed by hand."""

import numpy as np
import pytest
from scipy import stats

from drake.errors import DrakeError
from drake.results.gains import better_off, pareto_front, weighted_mean, worst_client


def test_clients_are_better_off_in_their_mean_over_seeds():
    """Differences of the clients: +1/4 and -1/8 (better), +1/8 and -1/8 (a tie), -1/8 and -1/8 (worse)."""
    alone = np.full((2, 3), 0.5)
    method = np.array([[0.75, 0.625, 0.375], [0.375, 0.375, 0.375]])
    found = better_off(method, alone)
    assert (found.better, found.clients, found.share) == (1, 3, 1 / 3)
    # Clopper and Pearson: P(X >= 1 | 3, low) = 2.5%, P(X <= 1 | 3, high) = 2.5%
    assert stats.binom.sf(0, 3, found.low) == pytest.approx(0.025)
    assert stats.binom.cdf(1, 3, found.high) == pytest.approx(0.025)


def test_the_share_of_none_and_of_all_ends_at_zero_and_one():
    none, every = better_off([[0.1] * 10], [[0.2] * 10]), better_off([[0.2] * 10], [[0.1] * 10])
    assert (none.better, none.low, none.high) == (0, 0.0, pytest.approx(1 - 0.025 ** (1 / 10)))
    assert (every.better, every.low, every.high) == (10, pytest.approx(0.025 ** (1 / 10)), 1.0)


def test_rounding_makes_nobody_better_off():
    assert better_off([[0.1 + 0.2]], [[0.3]]).better == 0


@pytest.mark.parametrize(
    ("method", "alone"), [([[0.1, 0.2]], [[0.1]]), ([[0.1]], [[np.nan]]), ([], []), ([0.1], [0.1])]
)
def test_clients_that_do_not_fit_together_are_refused(method, alone):
    with pytest.raises(DrakeError, match="the same seeds and clients"):
        better_off(method, alone)


def test_the_worst_client_is_unknown_where_one_is():
    assert worst_client([0.5, 0.25, 0.75]) == 0.25
    assert worst_client([0.5, None]) is None
    assert worst_client([]) is None


def test_every_answer_counts_once_in_the_weighted_mean():
    scores = [[1.0, 0.5], [0.0, 0.5]]  # two seeds; tasks of 10 and 30 answers
    assert weighted_mean(scores, [10, 30]).tolist() == [0.625, 0.375]


def test_the_front_holds_what_nobody_beats():
    scores = [0.9, 0.8, 0.8, 0.7, 0.9, None]
    sent = [100, 0, 50, 0, 100, 0]
    flops = [5.0, 5.0, 5.0, 4.0, 5.0, 1.0]
    # 0 and 4 are equal; 1 beats 2 (as good, sends less) but not 3 (computes less); 5 has no score.
    assert pareto_front(scores, sent, flops) == [True, True, False, True, True, None]
    assert pareto_front([0.9, 0.8], [1, 0], [1.0, None]) == [True, None]
