"""From a[t,i,k] to the reported numbers, and the measures of open-ended answers."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drake.errors import DrakeError
from drake.scoring.metrics import ScoreTable, official_f1, over_seeds, rouge_l, summarise, token_f1

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "official_f1.json"
CASES = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else []


@pytest.mark.shared
@pytest.mark.skipif(not CASES, reason=f"{GOLDEN} is absent: F1 by the official code")
@pytest.mark.parametrize("case", CASES)
def test_official_f1_agrees_with_the_official_code(case):
    pairs = [(pair["predicted_ids"], pair["gold_ids"]) for pair in case["pairs"]]
    assert official_f1(pairs) == pytest.approx(case["f1"], abs=1e-6)


def test_official_f1_counts_distinct_ids_from_its_odd_start():
    # matched 1+2, generated 1+3, gold 0+2: precision 3/4, recall 3/2
    assert official_f1([([5, 5, 6, 7], [5, 6, 6])]) == pytest.approx(2 * 0.75 * 1.5 / 2.25)
    assert official_f1([]) == 0.0


@pytest.mark.parametrize(
    ("answer", "gold", "score"),
    [
        ("The cat!", "a cat", 1.0),
        ("two red cats", "red", 0.5),
        ("dog", "cat", 0.0),
        ("", "cat", 0.0),
        ("the", "", 1.0),
        ("cat cat", "cat", 2 / 3),
        ("anthem", "them", 0.0),
        ("1.5", "15", 0.0),
        ("-5", "5", 0.0),
        (".5", "5", 0.0),
        ("10:15", "1015", 0.0),
        ("1,5", "15", 0.0),
        ("It is (1,000.5).", "1000.5", 0.5),
        ("5.", "5", 1.0),
        ("don't", "dont", 1.0),
        ("", "A", 0.0),
        ("a", "A.", 1.0),
    ],
)
def test_token_f1(answer, gold, score):
    assert token_f1(answer, gold) == pytest.approx(score)


def test_rouge_l_is_the_longest_common_subsequence():
    assert rouge_l("the cat sat on the mat", "the cat sat on the mat") == 1.0
    assert rouge_l("the cat lay", "the cat sat on the mat") == pytest.approx(2 * (2 / 3) * (2 / 6) / (2 / 3 + 2 / 6))


def example() -> ScoreTable:
    """Two clients with two tasks each, a zero-shot point, two phases, and one unseen task."""
    values = np.array(
        [
            [[0.9, 0.9, 0.9, 0.9, 0.9], [0.9, 0.9, 0.9, 0.9, 0.9]],  # zero-shot: enters no average
            [[0.8, 0.1, 0.4, 0.2, 0.5], [0.3, 0.1, 0.6, 0.2, 0.7]],
            [[0.6, 0.7, 0.5, 0.1, 0.6], [0.2, 0.4, 0.8, 0.5, 0.8]],
        ]
    )
    own = (("a0", "a1"), ("b0", "b1"))
    first, all_begun = frozenset({"a0", "b0"}), frozenset({"a0", "a1", "b0", "b1"})
    return ScoreTable(values, ("a0", "a1", "b0", "b1", "new"), own, (frozenset(), first, all_begun), (0, 5, 10))


def test_summary_of_an_example_worked_out_by_hand():
    found = summarise(example())
    # begun after round 5: a0, b0. Self: client a 0.8, client b 0.6. Others: a on b0 0.4, b on a0 0.3.
    assert found.self_curve == pytest.approx((0.7, 0.65))
    assert found.others_curve == pytest.approx((0.35, 0.3))
    # after round 10. Self: (0.6 + 0.7)/2 and (0.8 + 0.5)/2. Others: (0.5 + 0.1)/2 and (0.2 + 0.4)/2.
    assert found.self_last == pytest.approx(0.65)
    assert found.self_auc == pytest.approx(0.675)
    assert found.others_last == pytest.approx(0.3)
    assert found.others_auc == pytest.approx(0.325)
    assert found.clients_last == pytest.approx((0.65, 0.65))
    assert found.clients_std == pytest.approx(0.0)
    assert found.worst_decile == pytest.approx(0.65)
    # a0 fell from 0.8 to 0.6, b0 rose from 0.6 to 0.8; a1 and b1 have no earlier score
    assert found.forgetting == pytest.approx(0.0)
    assert found.unseen_last == pytest.approx(0.7)
    assert found.rounds == (5, 10)


def test_forgetting_takes_the_best_earlier_score_and_no_score_from_before_the_task_began():
    values = np.array([[[0.5, 0.9]], [[0.8, 0.4]], [[0.6, 0.3]]])
    begun = (frozenset({"x"}), frozenset({"x", "y"}), frozenset({"x", "y"}))
    found = summarise(ScoreTable(values, ("x", "y"), (("x", "y"),), begun, (5, 10, 15)))
    assert found.forgetting == pytest.approx(((0.8 - 0.6) + (0.4 - 0.3)) / 2)
    assert math.isnan(found.others_last)  # there is no other client


def test_worst_decile_and_spread_of_eleven_clients():
    scores = np.arange(11) / 10
    names = tuple(f"t{i}" for i in range(11))
    table = ScoreTable(np.diag(scores)[None], names, tuple((n,) for n in names), (frozenset(names),), (1,))
    found = summarise(table)
    assert found.worst_decile == pytest.approx(0.05)  # a tenth of 11, rounded up: two clients
    assert found.clients_std == pytest.approx(np.std(scores))
    assert math.isnan(found.forgetting)


def test_a_missing_score_makes_only_what_needs_it_nan():
    table = example()
    values = table.values.copy()
    values[1, 0, 2] = np.nan  # client a on b0 after round 5: Others at the first point
    values[1, 1, 1] = np.nan  # a1 has not begun by then: nothing needs it
    values[2, 0, 4] = np.nan  # an unseen task
    found = summarise(replace(table, values=values))
    assert math.isnan(found.others_auc)
    assert math.isnan(found.unseen_last)
    assert found.others_last == pytest.approx(0.3)
    assert found.self_auc == pytest.approx(0.675)
    values[2, 1, 3] = np.nan  # client b on its own b1 at the end
    found = summarise(replace(table, values=values))
    assert math.isnan(found.self_last)
    assert math.isnan(found.worst_decile)
    assert math.isnan(found.clients_std)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"values": np.zeros((3, 2, 4))}, "shape"),
        ({"tasks": ("a0", "a1", "b0", "b1", "b1")}, "two columns"),
        ({"own": (("a0", "a1"), ("b0", "elsewhere"))}, "'elsewhere' has no column"),
        ({"rounds": (0, 10, 5)}, "ascend"),
        ({"begun": (frozenset(),)}, "begun"),
    ],
)
def test_tables_that_do_not_fit_together_are_refused(change, why):
    with pytest.raises(DrakeError, match=why):
        replace(example(), **change)


def test_a_table_with_the_zero_shot_point_alone_has_no_summary():
    table = example()
    with pytest.raises(DrakeError, match="after training"):
        summarise(replace(table, values=table.values[:1], begun=table.begun[:1], rounds=(0,)))


@st.composite
def tables(draw) -> ScoreTable:
    clients, per_client, points = draw(st.integers(2, 5)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    own = tuple(tuple(f"{i}-{k}" for k in range(per_client)) for i in range(clients))
    names = tuple(name for tasks in own for name in tasks)
    size = points * clients * len(names)
    values = np.array(draw(st.lists(st.floats(0, 1), min_size=size, max_size=size)))
    begun = tuple(frozenset(name for tasks in own for name in tasks[: min(t + 1, per_client)]) for t in range(points))
    shape = (points, clients, len(names))
    return ScoreTable(values.reshape(shape), names, own, begun, tuple(range(1, points + 1)))


@settings(max_examples=40, deadline=None)
@given(table=tables())
def test_every_average_lies_between_the_lowest_and_the_highest_score(table):
    found = summarise(table)
    low, high = table.values.min() - 1e-12, table.values.max() + 1e-12
    for name in ("self_last", "self_auc", "others_last", "others_auc", "worst_decile"):
        assert low <= getattr(found, name) <= high
    assert found.worst_decile <= found.self_last + 1e-12
    assert found.clients_std <= (high - low) / 2 + 1e-12


@settings(max_examples=40, deadline=None)
@given(table=tables(), data=st.data())
def test_the_order_of_clients_and_of_columns_changes_no_mean(table, data):
    clients = data.draw(st.permutations(range(len(table.own))))
    columns = data.draw(st.permutations(range(len(table.tasks))))
    shuffled = ScoreTable(
        table.values[:, clients][:, :, columns],
        tuple(table.tasks[k] for k in columns),
        tuple(table.own[i] for i in clients),
        table.begun,
        table.rounds,
    )
    before, after = summarise(table), summarise(shuffled)
    for name in ("self_last", "self_auc", "others_last", "others_auc", "clients_std", "worst_decile", "forgetting"):
        assert getattr(after, name) == pytest.approx(getattr(before, name), abs=1e-12, nan_ok=True)
    assert [after.clients_last[clients.index(i)] for i in range(len(clients))] == pytest.approx(before.clients_last)


def test_over_seeds_gives_the_mean_and_its_standard_error():
    assert over_seeds([0.6, 0.7, 0.8]) == pytest.approx((0.7, 0.1 / math.sqrt(3)))
    assert math.isnan(over_seeds([0.6]).standard_error)
