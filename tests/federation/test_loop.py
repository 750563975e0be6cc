"""The round loop: whose operations are counted, and what a round does that nobody finishes."""

import pytest

from drake.config import configure
from drake.engines.serial import Serial
from drake.engines.tasks import Job
from drake.federation.callbacks import Callback, RunContext
from drake.federation.loop import run_rounds
from drake.federation.measurements import measurements
from drake.federation.participation import EVERYONE
from drake.runs import Setup


class _Away:
    """Participation by a list of who takes part in each round."""

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


class _Aggregations(Callback):
    def __init__(self):
        self.rounds = []

    def round_aggregated(self, round):
        if round.has_uploads:
            self.rounds.append(round.number + 1)


@pytest.fixture
def train(micro_backbones, micro_data):
    """(method, rounds, participation) -> counted (round, client), rounds with an aggregation, the progress. Odd clients
    hold the larger backbone."""

    def found(method, rounds, participation=EVERYONE):
        numbers = {"steps": 1, "micro_batch": 1, "accumulation": 1, "rounds": rounds, "device": "cpu", "clients": 4}
        models = (micro_backbones["llama-4"], micro_backbones["llama-6"])
        setup = Setup(configure(method, "quick", models=models, data=micro_data, **numbers))
        engine, seen = _Watched(setup.worker(0)), _Aggregations()
        run = RunContext(engine.worker.federation, engine.worker.method)
        progress = run_rounds(engine, run, [*measurements(), seen], participation)
        return engine.counted, seen.rounds, progress

    return found


def test_the_second_round_of_the_first_client_of_each_backbone_is_counted(train):
    counted, aggregated, progress = train("fedit", 3)
    assert counted == [(1, 0), (1, 1)]
    assert aggregated == [1, 2, 3]
    assert progress.flops() > 0


def test_where_there_is_one_round_that_is_counted(train):
    counted, _, progress = train("sft", 1)
    assert counted == [(0, 0), (0, 1)]
    assert progress.flops() > 0


def test_a_client_without_a_download_is_not_counted_while_others_have_one(train):
    counted, _, _ = train("fedit", 4, _Away({2, 3}, {0, 1}, {0, 1, 2}, {0, 1, 2, 3}))
    assert counted == [(2, 0), (2, 1)]
    assert train("fedit", 2, _Away({2, 3}, {0, 1}))[0] == [(1, 0), (1, 1)]  # or never


def test_a_round_that_nobody_finishes_aggregates_nothing(train):
    _, aggregated, progress = train("fedit", 3, _Away({0, 1}, set(), {0, 1}))
    assert aggregated == [1, 3]
    assert [row.round for row in progress.traffic if row.direction == "down" and row.client == 0] == [0, 0, 2, 2]


@pytest.mark.parametrize("moment", ["trained", "aggregated"])
def test_a_client_is_scored_with_the_download_of_the_start_of_the_round_or_with_the_new_one(
    micro_backbones, micro_data, moment
):
    numbers = {"steps": 1, "micro_batch": 1, "accumulation": 1, "rounds": 2, "device": "cpu", "clients": 4}
    setup = Setup(configure("fedit", "quick", models=(micro_backbones["llama-4"],), data=micro_data, **numbers))
    worker, scored, happened = setup.worker(0), [], []

    def evaluate(run, rounds_done, asked):
        assert asked == moment
        happened.append("evaluate")
        scored.append((rounds_done, dict(run.progress.states), dict(run.progress.downloads)))
        return {}

    class Order(Callback):
        def __init__(self):
            self.received, self.results = [], []

        def round_trained(self, round):
            happened.append("trained")
            self.results.append(dict(round.results))

        def round_aggregated(self, round):
            happened.append("aggregated")
            self.received.append(dict(round.received))

    order = Order()
    run = RunContext(worker.federation, worker.method)
    run_rounds(Serial(worker), run, [order], evaluate=evaluate, evaluation_rounds=(1, 2), evaluate_at=moment)
    first = ["trained", "evaluate", "aggregated"] if moment == "trained" else ["trained", "aggregated", "evaluate"]
    assert happened == first * 2
    expected = [{}, order.received[0]] if moment == "trained" else order.received
    for number, (rounds_done, states, downloads) in enumerate(scored):
        assert rounds_done == number + 1
        assert downloads == expected[number]
        assert all(states[i] is result.state for i, result in order.results[number].items())


def test_a_callback_of_a_round_hears_who_takes_part_and_everything_in_its_order(micro_backbones, micro_data):
    numbers = {"steps": 1, "micro_batch": 1, "accumulation": 1, "rounds": 1, "device": "cpu"}
    setup = Setup(configure("fedit", "quick", models=(micro_backbones["llama-4"],), data=micro_data, **numbers))
    worker, heard = setup.worker(0), []

    class Listener(Callback):
        pass

    for name in [name for name, hook in vars(Callback).items() if callable(hook)]:
        setattr(Listener, name, lambda self, context, name=name: heard.append(name))
    run = RunContext(worker.federation, worker.method)
    score = lambda run, rounds_done, moment: {} if rounds_done else None  # noqa: E731
    participation = _Away({4, 7})
    run_rounds(Serial(worker), run, [Listener()], participation, evaluate=score, evaluation_rounds=(0, 1))
    assert heard == [
        "run_started", "round_started", "client_trained", "client_trained", "round_trained", "evaluated",
        "round_aggregated", "round_finished", "run_finished",
    ]  # fmt: skip
