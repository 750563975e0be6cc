"""Plans: variance components of a known table, and that a planned number of seeds has the power it promises."""

import numpy as np
import pytest

from drake import DrakeError
from drake.results.comparison import Answers, Cell, compare
from drake.results.planning import Components, components


def answers(name, correct):
    """correct [seeds, clients, questions], 0 or 1; one task for each client."""
    seeds, clients, questions = correct.shape
    ids = tuple(map(str, range(questions)))
    cells = {
        (i, f"task-{i}"): Cell("mean", ids, correct[:, i].astype(float), np.ones((seeds, questions)))
        for i in range(clients)
    }
    return Answers(name, tuple(range(seeds)), clients, cells)


def drawn(rng, seeds, clients, questions, by, of_seeds=0.0, of_clients=0.0):
    """Two runs whose probabilities of a right answer differ by `by`, more or less by seed and client."""
    effect = by + of_seeds * rng.standard_normal((seeds, 1, 1)) + of_clients * rng.standard_normal((1, clients, 1))
    shape = seeds, clients, questions
    return answers("a", rng.random(shape) < 0.5 + effect / 2), answers("b", rng.random(shape) < 0.5 - effect / 2)


def test_without_effects_the_answers_alone_vary():
    rng = np.random.default_rng(0)
    found = [components(*drawn(rng, 5, 10, 50, 0.0)) for _ in range(200)]
    rest = np.mean([one.rest for one in found])
    assert rest == pytest.approx(2 * 0.25 / 50, rel=0.05)
    assert np.mean([one.of_rest for one in found]) == pytest.approx(rest, rel=0.05)
    assert np.mean([one.of_clients for one in found]) < 0.1 * rest


def test_four_times_the_questions_halve_what_the_answers_alone_decide():
    alone = Components(seeds=0, clients=0, rest=0.01, of_clients=0, of_rest=0.01, number=10)
    assert alone.smallest(5, 4) == pytest.approx(alone.smallest(5) / 2)
    differing = Components(seeds=0, clients=0.01, rest=0, of_clients=0, of_rest=0, number=10)
    assert differing.smallest(20, 4) == pytest.approx(differing.smallest(5))  # neither seeds nor questions help
    assert differing.seeds_for(0.01) is None
    assert alone.seeds_for(alone.smallest(7)) == 7


def test_the_planned_difference_is_found_with_the_planned_power():
    rng = np.random.default_rng(1)
    known = Components(seeds=0.03**2, clients=0.04**2, rest=2 * 0.25 / 40, of_clients=0, of_rest=0.0125, number=10)
    by = known.smallest(5)
    effects = {"of_seeds": 0.03, "of_clients": 0.04}
    found = [compare(*drawn(rng, 5, 10, 40, by, **effects), resamples=2) for _ in range(400)]
    assert np.mean([one.p <= 0.05 for one in found]) == pytest.approx(0.8, abs=0.08)


def test_two_seeds_are_too_few():
    rng = np.random.default_rng(0)
    with pytest.raises(DrakeError, match="at least 3 seeds and two clients; these have 2 and 4"):
        components(*drawn(rng, 2, 4, 5, 0.0))
