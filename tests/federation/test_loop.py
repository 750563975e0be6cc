"""The round loop: whose operations are counted, and what a round does that nobody finishes."""

import pytest

from drake.config import configure
from drake.engines.tasks import Job, Serial
from drake.federation.checkpoint import Progress
from drake.federation.loop import Observer, run_rounds
from drake.federation.participation import EVERYONE
from drake.runs import Setup


class _Away:
    """Attendance by a list of who is there in each round."""

    def __init__(self, *rounds):
        self.rounds = rounds

    def present(self, federation, round):
        return frozenset(self.rounds[round])


class _Watched(Serial):
    """Notes which jobs were counted."""

    def __init__(self, worker):
        super().__init__(worker)
        self.counted = []

    def run(self, tasks):
        self.counted += [(task.round, task.client.id) for task in tasks if isinstance(task, Job) and task.counted]
        return super().run(tasks)


class _Mixings(Observer):
    def __init__(self):
        self.rounds = []

    def mixed(self, rounds_done, method):
        self.rounds.append(rounds_done)


@pytest.fixture
def train(micro_backbones, micro_data):
    """(method, rounds, attendance) -> counted (round, client), rounds that were mixed, the progress. Odd clients hold
    the larger backbone."""

    def found(method, rounds, attendance=EVERYONE):
        numbers = {"steps": 1, "micro_batch": 1, "accumulation": 1, "rounds": rounds, "device": "cpu"}
        models = (micro_backbones["llama-4"], micro_backbones["llama-6"])
        setup = Setup(configure(method, "quick", models=models, data=micro_data, **numbers))
        engine, mixings = _Watched(setup.worker(0)), _Mixings()
        progress = run_rounds(engine, lambda *_: None, (), Progress(), mixings, attendance)
        return engine.counted, mixings.rounds, progress

    return found


def test_the_second_round_of_the_first_client_of_each_backbone_is_counted(train):
    counted, mixed, progress = train("fedit", 3)
    assert counted == [(1, 0), (1, 1)]
    assert mixed == [1, 2, 3]
    assert progress.operations() > 0


def test_where_there_is_one_round_that_is_counted(train):
    counted, _, progress = train("sft", 1)
    assert counted == [(0, 0), (0, 1)]
    assert progress.operations() > 0


def test_a_client_without_a_download_is_not_counted_while_others_have_one(train):
    counted, _, _ = train("fedit", 4, _Away({2, 3}, {0, 1}, {0, 1, 2}, {0, 1, 2, 3}))
    assert counted == [(2, 0), (2, 1)]
    assert train("fedit", 2, _Away({2, 3}, {0, 1}))[0] == [(1, 0), (1, 1)]  # or never


def test_a_round_that_nobody_finishes_mixes_nothing(train):
    _, mixed, progress = train("fedit", 3, _Away({0, 1}, set(), {0, 1}))
    assert mixed == [1, 3]
    assert [row.round for row in progress.ledger if row.direction == "down" and row.client == 0] == [0, 0, 2, 2]
