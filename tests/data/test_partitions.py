"""More clients than a dataset has: their tasks, and the train records that each of them holds."""

from itertools import chain

import numpy as np
import pytest

from drake.data.partitions import LEAST, part, shared_clients, shared_schedule
from drake.data.schedules import federation_schedule

CLIENTS = (("a", "b"), ("c",))
SIZES = {"a": 60, "b": 45, "c": 12}


def test_clients_share_the_tasks_in_turn():
    assert shared_clients(CLIENTS, 5) == (("a", "b"), ("c",), ("a", "b"), ("c",), ("a", "b"))
    assert shared_clients(CLIENTS, 1) == (("a", "b"),)
    assert shared_clients(CLIENTS, None) == CLIENTS


@pytest.mark.parametrize("parts", [2, 3, 6])
def test_parts_are_disjoint_and_hold_every_record_where_there_are_enough(parts):
    held = [part(range(60), number, parts) for number in range(parts)]
    assert sorted(chain(*held)) == list(range(60))
    assert {len(rows) for rows in held} == {60 // parts}


def test_parts_of_a_small_task_overlap_evenly():
    held = [part(range(25), number, 10) for number in range(10)]
    assert {len(rows) for rows in held} == {LEAST}
    assert {len(set(rows)) for rows in held} == {LEAST}
    uses = np.bincount(list(chain(*held)))
    assert (uses.min(), uses.max()) == (4, 4)
    assert [len(part(range(4), number, 9)) for number in range(9)] == [4] * 9


@pytest.mark.parametrize("split", ["dynamic", "static", "dirichlet", "dirichlet-across"])
def test_a_client_with_tasks_of_its_own_has_the_stream_it_always_had(split):
    mine = shared_schedule(split, CLIENTS, SIZES, 3, seed=1, alpha=1.0)
    assert mine == federation_schedule(split, CLIENTS, SIZES, 3, 1, 1.0)


@pytest.mark.parametrize("split", ["dynamic", "static", "dirichlet"])
def test_clients_that_share_a_task_train_on_disjoint_records(split):
    clients = shared_clients(CLIENTS, 5)
    streams = shared_schedule(split, clients, SIZES, 3, seed=1, alpha=0.5)
    rows = [{(task, row) for arrived in rounds for task, row in arrived} for rounds in streams]
    of_a = [{row for task, row in mine if task == "a"} for mine in rows[::2]]
    assert all(of_a)
    assert len(set.union(*of_a)) == sum(map(len, of_a)) <= 60
    if split == "dynamic":
        assert set.union(*of_a) == set(range(60))
        assert {len(mine) for mine in of_a} == {20}


def test_a_thousand_clients_have_streams():
    clients = shared_clients([(f"{i}-0", f"{i}-1") for i in range(10)], 1000)
    sizes = {task: 80 for tasks in clients[:10] for task in tasks}
    streams = shared_schedule("dynamic", clients, sizes, 2, seed=0)
    assert len(streams) == 1000
    assert {sum(map(len, rounds)) for rounds in streams} == {2 * LEAST}


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_the_dirichlet_split_mixes_a_clients_own_tasks_in_rounds_of_equal_size(alpha):
    """As the paper has it: every round's mixture over the client's tasks is drawn from Dir(alpha), so that the share of
    a task has the mean 1/4 and the variance of a Dirichlet, (1/4)(3/4)/(4 alpha + 1)."""
    sizes = {f"t{k}": 400 for k in range(4)}
    shares = []
    for client in range(300):
        (first, *rest) = federation_schedule("dirichlet", [tuple(sizes)], sizes, 5, seed=client, alpha=alpha)[0]
        assert {len(arrived) for arrived in (first, *rest)} == {80}
        shares.append(sum(task == "t0" for task, _ in first) / 80)
    assert np.mean(shares) == pytest.approx(0.25, abs=0.04)
    assert np.var(shares) == pytest.approx(3 / 16 / (4 * alpha + 1), rel=0.3)
