"""Rounds, schedules and the online memory: golden cuts, and what must hold for every size and seed."""

import json
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drake.data.schedules import federation_schedule, memory_batches, num_rounds, round_slices, schedule
from drake.errors import DrakeError, UnknownName

sizes_of_tasks = st.lists(st.integers(0, 400), min_size=1, max_size=6)
rates = st.one_of(st.integers(1, 12), st.floats(0.2, 12))
SIZES = {"a": 40, "b": 7, "c": 93, "d": 61}


def flat(rounds):
    return [arrival for arrivals in rounds for arrival in arrivals]


def test_round_slices_equal_the_official_ones(golden):
    for case in json.loads((golden / "round_schedule.json").read_text()):
        made = [
            [list(piece) for piece in slices] for slices in round_slices(case["task_sizes"], case["rounds_per_task"])
        ]
        assert made == [entry["segments"] for entry in case["rounds"]]


def test_round_slices_cut_as_floats_do():
    assert [piece.stop for (piece,) in round_slices([250, 250], 5)[5:]] == [49, 99, 150, 200, 250]


@given(sizes_of_tasks, rates)
def test_every_record_is_in_exactly_one_slice_and_in_order(sizes, rate):
    rounds = round_slices(sizes, rate)
    met = [(piece.task, row) for slices in rounds for piece in slices for row in range(*piece[1:])]
    assert met == [(task, row) for task, size in enumerate(sizes) for row in range(size)]
    assert len(rounds) == num_rounds(len(sizes), rate)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_rounds_per_task_must_be_a_positive_number(rate):
    with pytest.raises(DrakeError, match="rounds per task"):
        round_slices([10], rate)


def test_dynamic_deals_each_task_in_an_order_of_its_own_that_other_clients_do_not_change():
    mine = schedule("dynamic", SIZES, 5, seed=3, client=0)
    assert [{task for task, _ in arrivals} for arrivals in mine[::5]] == [{"a"}, {"b"}, {"c"}, {"d"}]
    assert sorted(flat(mine)) == sorted((task, row) for task, size in SIZES.items() for row in range(size))
    assert flat(mine) != sorted(flat(mine))
    elsewhere = flat(schedule("dynamic", {"c": 93}, 2, seed=3, client=9))
    assert elsewhere == [arrival for arrival in flat(mine) if arrival[0] == "c"]
    assert mine != schedule("dynamic", SIZES, 5, seed=4, client=0)


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 120), min_size=1),
    rates,
    st.integers(0, 9),
    st.sampled_from([0.01, 0.5, 50.0]),
    st.sampled_from(["static", "dirichlet"]),
)
def test_pooled_splits_deal_equal_rounds_and_no_record_twice(sizes, rate, seed, alpha, split):
    rounds = schedule(split, sizes, rate, seed, client=1, alpha=alpha)
    total = sum(sizes.values())
    assert len(rounds) == num_rounds(len(sizes), rate)
    assert len(set(flat(rounds))) == len(flat(rounds))
    assert all(0 <= row < sizes[task] for task, row in flat(rounds))
    if total >= len(rounds):
        assert {len(arrivals) for arrivals in rounds} == {total // len(rounds)}
    else:  # too few for one each: nobody's record is lost
        assert len(flat(rounds)) == total
    assert rounds == schedule(split, sizes, rate, seed, client=1, alpha=alpha)


def test_a_small_alpha_gives_rounds_of_one_task_and_a_large_one_even_rounds():
    sizes = dict.fromkeys("abcd", 500)

    def largest_share(alpha):
        rounds = schedule("dirichlet", sizes, 5, 0, 0, alpha)[:10]  # later rounds take what is left
        return np.mean([max(Counter(task for task, _ in arrivals).values()) / 100 for arrivals in rounds])

    assert largest_share(1000) < 0.35 < 0.8 < largest_share(0.01)


def test_across_clients_each_record_goes_to_one_client_only():
    clients = [("a", "b"), ("c",), ("d",)]
    streams = federation_schedule("dirichlet-across", clients, SIZES, 2, seed=0, alpha=0.3)
    dealt = [arrival for rounds in streams for arrival in flat(rounds)]
    assert [len(rounds) for rounds in streams] == [4, 2, 2]
    assert len(set(dealt)) == len(dealt)
    assert len(dealt) > sum(SIZES.values()) - 8  # cutting into equal rounds drops fewer than one a round
    assert any(task not in clients[1] for task, _ in flat(streams[1]))


def test_a_split_that_does_not_exist_or_needs_all_clients_is_refused():
    with pytest.raises(UnknownName, match="dynamic"):
        schedule("dinamic", SIZES, 5, 0, 0)
    with pytest.raises(DrakeError, match="federation_schedule"):
        schedule("dirichlet-across", SIZES, 5, 0, 0)
    with pytest.raises(DrakeError, match="alpha"):
        schedule("dirichlet", SIZES, 5, 0, 0, alpha=0)


streams = st.lists(st.integers(0, 25), min_size=1, max_size=5).map(
    lambda counts: [list(range(start, stop)) for start, stop in pairwise(np.cumsum([0, *counts]).tolist())]
)


@given(streams, st.integers(0, 30), st.integers(1, 6), st.integers(1, 40), st.booleans())
def test_memory_makes_exactly_the_steps_of_the_batch_size_from_what_has_arrived(
    arrivals, steps, batch, capacity, stream_only
):
    def made(of):
        return memory_batches(of, steps, batch, 7, 2, capacity=capacity, stream_only=stream_only)

    rounds = made(arrivals)
    assert len(rounds) == len(arrivals)
    seen = set()
    for k, (records, batches) in enumerate(zip(arrivals, rounds, strict=True)):
        seen |= set(records)
        assert len(batches) == (steps if seen else 0)
        assert all(len(drawn) == batch and set(drawn) <= seen for drawn in batches)
        assert made(arrivals[: k + 1]) == rounds[: k + 1]  # what comes later changes nothing


def test_memory_depends_on_seed_and_client():
    arrivals = [list(range(50)), list(range(50, 100))]
    batches = memory_batches(arrivals, 20, 4, seed=0, client=0)
    assert batches == memory_batches(arrivals, 20, 4, seed=0, client=0)
    assert batches != memory_batches(arrivals, 20, 4, seed=0, client=1)
    assert batches != memory_batches(arrivals, 20, 4, seed=1, client=0)


def test_arrivals_earn_steps_evenly():
    """With 4 records and 8 steps, two draws follow each arrival, so the first two can only hold the first."""
    (batches,) = memory_batches([list("abcd")], 8, 1, 0, 0)
    for arrived in range(4):
        assert {drawn[0] for drawn in batches[2 * arrived : 2 * arrived + 2]} <= set("abcd"[: arrived + 1])
    (batches,) = memory_batches([list(range(100))], 5, 1, 0, 0)  # draws after arrivals 20, 40, 60, 80, 100
    assert all(drawn[0] < 20 * (step + 1) for step, drawn in enumerate(batches))


def test_a_memory_smaller_than_the_batch_is_repeated_and_otherwise_no_record_is_twice_in_a_batch():
    first, later = memory_batches([["x"], list(range(200))], 10, 4, 0, 0)
    assert first == [["x"] * 4] * 10
    assert all(len(set(drawn)) == 4 for drawn in later)


def test_less_used_records_are_preferred():
    """After 50 draws of one record, that record is at e^-400 and the ten newcomers are drawn in turn."""
    (_, batches) = memory_batches([["old"], list(range(10))], 50, 1, 0, 0, decay=1.0)
    drawn = [record for (record,) in batches]
    assert "old" not in drawn
    assert max(Counter(drawn).values()) <= 10
    even = memory_batches([list(range(10))], 1000, 1, 0, 0, decay=1.0)[0]
    counts = Counter(record for (record,) in even)
    assert max(counts.values()) - min(counts.values()) <= 3  # turns; chance would spread by about 30


def test_draws_follow_the_softmax_of_the_uses():
    """Two records, one used once: p(unused) = 1 / (1 + exp(-decay / T)), by frequency over many clients."""
    temperature, decay, clients = 1.0, 0.5, 4000
    unused = 0
    for client in range(clients):
        arrivals = [["a", "b"], []]
        ((used,),), ((then,),) = memory_batches(arrivals, 1, 1, 0, client, temperature=temperature, decay=decay)
        unused += used != then
    expected = 1 / (1 + np.exp(-decay / temperature))
    assert unused / clients == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / clients))


def test_a_full_memory_evicts():
    rounds = memory_batches([list(range(100)), []], 200, 3, 0, 0, capacity=5)
    assert len({record for drawn in rounds[1] for record in drawn}) == 5


def test_stream_only_takes_records_in_order_and_starts_again():
    rounds = memory_batches([[], [1, 2, 3], []], 2, 2, 0, 0, stream_only=True)
    assert rounds == [[], [[1, 2], [3, 1]], [[1, 2], [3, 1]]]


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"steps": -1}, {"temperature": 0.0}, {"capacity": 0}])
def test_impossible_memories_are_refused(wrong):
    with pytest.raises(DrakeError, match="online memory"):
        memory_batches(**{"arrivals": [[1]], "steps": 1, "batch": 1, "seed": 0, "client": 0} | wrong)
