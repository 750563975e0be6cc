"""Paired differences of runs: a hand-computed example, coverage of the intervals in a simulation, Holm, groups."""

from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

from drake import cli
from drake.errors import DrakeError
from drake.results import comparison
from drake.results.comparison import Answers, Cell, Difference, all_pairs, compare, groups, holm, letters_of, terms
from drake.scoring.metrics import official_f1


def answers(name, right, seeds=None):
    """right [S, N, tasks, Q] of zeros and ones."""
    right = np.asarray(right, dtype=np.float64)
    cells = {}
    for client in range(right.shape[1]):
        for task in range(right.shape[2]):
            values = right[:, client, task]
            ids = tuple(f"{client}-{task}-{q}" for q in range(values.shape[1]))
            cells[client, f"task-{client}-{task}"] = Cell("mean", ids, values, np.ones_like(values))
    return Answers(name, tuple(seeds or range(right.shape[0])), right.shape[1], cells)


def test_a_hand_computed_difference():
    """Two clients with a task of four questions, three seeds; A has 2, 3, 4 and 4, 4, 4 right, B always 2."""
    a = np.ones((3, 2, 1, 4))
    a[0, 0, 0, :2] = a[1, 0, 0, 0] = 0
    b = np.zeros((3, 2, 1, 4))
    b[..., :2] = 1
    found = compare(answers("a", a), answers("b", b))
    # d[s, i] = (0, 1/2), (1/4, 1/2), (1/2, 1/2); means of seeds 1/4, 3/8, 1/2, of clients 1/4, 1/2, of all 3/8.
    assert found.by_seed == (0.25, 0.375, 0.5)
    assert found.mean == pytest.approx(0.375)
    # Sums of squares: seeds 2 (1/64 + 0 + 1/64) = 1/16, clients 3 (1/64 + 1/64) = 3/32, all 0.21875 - so rest 1/16.
    seeds, clients, rest = (1 / 16) / 2, (3 / 32) / 1, (1 / 16) / 2
    total = seeds + clients - rest
    df = total**2 / (seeds**2 / 2 + clients**2 / 1)
    half = stats.t.ppf(0.975, max(df, 1)) * (total / 6) ** 0.5
    assert (found.low, found.high) == pytest.approx((0.375 - half, 0.375 + half))
    assert found.p == pytest.approx(2 * stats.t.sf(0.375 / (total / 6) ** 0.5, max(df, 1)))
    assert found.probability == pytest.approx(1 - found.p / 2)


def test_questions_that_many_clients_answer_widen_the_interval():
    """Two clients are asked the same ten questions of one task; all clients and seeds agree on which are right."""
    right = (np.arange(10) < 6).astype(float)
    cells = [
        {(i, "task"): Cell("mean", tuple("abcdefghij"), np.tile(x, (3, 1)), np.ones((3, 10))) for i in range(2)}
        for x in (right, 1 - right)
    ]
    found = compare(*(Answers(name, (0, 1, 2), 2, of) for name, of in zip("ab", cells, strict=True)), resamples=4000)
    assert found.mean == pytest.approx(0.2)
    assert (found.high - found.low) / 2 == pytest.approx(
        stats.t.ppf(0.975, 2) * (4 * 0.6 * 0.4 / 10) ** 0.5, rel=0.05
    )  # d per question is +1 or -1: variance 4 p (1 - p) / 10


def test_swapped_runs_have_the_opposite_difference():
    rng = np.random.default_rng(0)
    a, b = (answers(name, rng.random((3, 4, 2, 10)) < 0.5) for name in "ab")
    one, two = compare(a, b), compare(b, a)
    assert (one.mean, one.low, one.high) == pytest.approx((-two.mean, -two.high, -two.low))
    assert one.p == pytest.approx(two.p)


@pytest.mark.parametrize(
    ("of_seeds", "of_clients", "most"),
    [(0.05, 0.01, 970), (0.0, 0.10, 970), (0.05, 0.05, 970), (0.0, 0.0, 1000)],
    ids=["training noise", "clients gain differently", "both", "nothing but questions"],
)
def test_the_intervals_cover_in_a_simulation(of_seeds, of_clients, most):
    """1,000 draws of seeds, clients and questions: 95% of the intervals hold the true difference, within 2%; more of
    them where neither seeds nor clients differ, since their variances are then estimated from questions alone."""
    rng = np.random.default_rng(3)
    seeds, clients, questions, covered = 3, 10, 100, 0
    for draw in range(1000):
        gap = rng.normal(0.05, of_clients, (1, clients, 1, 1))
        level = rng.uniform(0.3, 0.6, (1, clients, 1, questions))
        noise = rng.normal(0, of_seeds, (2, seeds, 1, 1, 1))  # of each run
        chance = [level + noise[0] + gap, level + noise[1]]
        a, b = (answers(n, rng.random((seeds, clients, 1, questions)) < c) for n, c in zip("ab", chance, strict=True))
        found = compare(a, b, seed=draw)
        covered += found.low <= 0.05 <= found.high
    assert 930 <= covered <= most


def test_two_seeds_have_a_difference_and_no_verdict():
    rng = np.random.default_rng(0)
    found = compare(*(answers(name, rng.random((2, 4, 2, 10)) < 0.5) for name in "ab"))
    assert found.mean == pytest.approx(np.mean(found.by_seed))
    assert (found.low, found.high, found.p, found.probability) == (None,) * 4


def test_runs_that_answered_something_else_are_not_compared():
    right = np.ones((3, 2, 1, 4))
    with pytest.raises(DrakeError, match="compare runs with the same seeds"):
        compare(answers("a", right), answers("b", right, seeds=(4, 5, 6)))
    with pytest.raises(DrakeError, match="did not answer the same questions"):
        compare(answers("a", right), answers("b", right[..., :3]))


def test_the_official_f1_is_the_ratio_of_its_terms():
    rows = [([1, 2, 3], [2, 3]), ([5], [6, 7]), ([8, 8, 9], [8])]
    sums = [
        terms(SimpleNamespace(correct=None, predicted_ids=p, gold_ids=g, text="", gold=""), "official")[1]
        for p, g in rows
    ]
    values = np.array(sums)
    cell = Cell("f1", ("a", "b", "c"), values[None, :, 0], values[None, :, 1])
    assert cell.score()[0] == pytest.approx(official_f1(rows))
    doubled = cell.score(np.array([[2.0, 0.0, 1.0]]))
    assert doubled[0, 0] == pytest.approx(official_f1([rows[0], rows[0], rows[2]]))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_groups_share_a_letter_where_no_pair_differs():
    def pair(a, b, p):
        return Difference(a, b, 0.1, 0.0, 0.2, p, 0.9, (0.1,) * 3)

    pairs = [
        pair("a", "b", 0.5), pair("a", "c", 0.5), pair("a", "d", 0.01), pair("b", "c", 0.5), pair("b", "d", 0.2),
        pair("c", "d", 0.3),
    ]  # fmt: skip
    assert groups("abcd", pairs) == ["a", "ab", "ab", "b"]
    assert groups("ab", [pair("a", "b", 0.001)]) == ["a", "b"]


def test_two_methods_share_a_letter_if_and_only_if_they_cannot_be_told_apart():
    """Also where the verdicts are not those of an interval: the first two differ, the first and the third do not."""
    rng = np.random.default_rng(0)
    names = "abcdefghij"
    for chance in (0.1, 0.3, 0.5, 0.7, 0.9):
        p = {frozenset(pair): 0.01 if rng.random() < chance else 0.2 for pair in combinations(names, 2)}
        found = groups(
            names, [Difference(*pair, 0.1, 0.0, 0.2, p[frozenset(pair)], 0.9, ()) for pair in combinations(names, 2)]
        )
        letters = dict(zip(names, map(letters_of, found), strict=True))
        assert all(letters.values())
        for a, b in combinations(names, 2):
            assert bool(set(letters[a]) & set(letters[b])) == (p[frozenset((a, b))] > 0.05)


def test_all_pairs_share_the_level():
    rng = np.random.default_rng(0)
    level = rng.random((3, 6, 2, 20))
    runs = [answers(name, level < c) for name, c in (("a", 0.5), ("b", 0.52), ("c", 0.9))]
    found = all_pairs(runs)
    assert [(d.a, d.b) for d in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    plain = [compare(a, b).p for a, b in ((runs[0], runs[1]), (runs[0], runs[2]), (runs[1], runs[2]))]
    assert [d.p for d in found] == pytest.approx(holm(plain))


def test_the_command_names_groups_and_draws(fabricate, tmp_path):
    runs = [
        str(fabricate(name, method=name, right=right, seeds=(0, 1, 2)))
        for name, right in (("one", (2, 4)), ("two", (1, 1)))
    ]
    asked = ["compare", *runs, "--out", str(tmp_path / "d")]
    found = CliRunner().invoke(cli.drake, asked, catch_exceptions=False)
    assert found.exit_code == 0
    assert "Two runs share a letter if and only if they cannot be told apart." in " ".join(found.output.split())
    assert (tmp_path / "d.png").exists()
    with pytest.raises(DrakeError, match="name two or more"):
        CliRunner().invoke(cli.drake, ["compare", runs[0]], catch_exceptions=False)


def test_the_score_of_stored_answers_is_that_of_the_results(fabricate):
    from drake.results import load

    run = fabricate("one", right=(2, 3), seeds=(0, 1, 2))
    results = load(run)
    for side in ("self", "others"):
        for protocol in ("official", "strict"):
            found = comparison.answers_of(run, results, side, protocol)
            expected = [getattr(seed.summary[protocol], f"{side}_last") for seed in results.runs]
            np.testing.assert_allclose(found.means().mean(0), expected, atol=1e-12)


def test_letters_go_on_after_z():
    names = [str(k) for k in range(28)]
    found = [Difference(a, b, 0.1, 0.0, 0.2, 0.001, 1.0, ()) for a in names for b in names if a < b]
    assert groups(names, found)[24:] == ["y", "z", "(27)", "(28)"]
