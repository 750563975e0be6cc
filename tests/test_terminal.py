"""What a run shows: lines where nobody watches, bars with the time left on a terminal."""

import io
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from drake.results import SeedSummary
from drake.terminal import Live, duration, percent

TRAINING = SimpleNamespace(local_steps=lambda cost: round(20 / cost), micro_batch=2, accumulation=4)
SETUP = SimpleNamespace(
    preset=SimpleNamespace(training=TRAINING),
    architectures={"small": None, "large": None},
    method_class=SimpleNamespace(relative_cost=2.0),
    settings=SimpleNamespace(method="fedmosaic"),
    clients=[None] * 2,
    tasks=["a", "b", "c"],
    rounds=3,
)
SUMMARY = SeedSummary.model_construct(self_last=0.5, others_last=0.12345)


class Clock:
    """Seconds that pass when a test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock)
    return clock


def shown(console: Console) -> list[str]:
    return console.export_text().splitlines()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (42.4, "42 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 00 min"),
        (7850, "2 h 10 min"),
        (90000, "25 h 00 min"),
    ],
)
def test_durations_are_read_at_a_glance(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(("score", "text"), [(None, "-"), (0.0, "0.00"), (1.0, "100.00"), (2 / 3, "66.67")])
def test_scores_are_percent_with_two_decimals(score, text):
    assert percent(score) == text


def test_without_a_terminal_a_run_is_a_line_per_event(clock):
    console = Console(record=True, force_terminal=False, width=120, file=io.StringIO())
    with Live(console) as live:
        live.started(SETUP)
        live.seed_started(7, 1)
        live.evaluating(0, 10)
        live.answered(10)
        live.evaluated(0, None)
        for client in range(2):
            clock.now += 30
            live.client_done(1, client, 0.25)
        live.round_done(2)
        live.evaluating(2, 10)
        clock.now += 5
        live.answered(10)
        live.evaluated(2, SUMMARY)
    assert shown(console) == [
        "fedmosaic: 2 clients, 3 tasks, 3 rounds of 10 steps x 8 records on small, large",
        "seed 7: goes on after round 1",
        "seed 7: round 2 of 3, about 1 min 00 s of training left",
        "seed 7, round 2: Self 50.00, Others 12.35",
    ]


def test_nothing_is_said_of_the_time_left_before_it_is_known():
    console = Console(record=True, force_terminal=False, width=120, file=io.StringIO())
    with Live(console) as live:
        live.started(SETUP)
        live.seed_started(0, 0)
        live.round_done(1)  # no client had anything to train on
    assert shown(console)[-1] == "seed 0: round 1 of 3"


def test_on_a_terminal_both_bars_tell_the_time_left(clock):
    console = Console(force_terminal=True, width=200, file=io.StringIO())
    with Live(console) as live:
        live.started(SETUP)
        live.seed_started(0, 0)
        clock.now += 20
        live.client_done(0, 0, 1.5)
        live.evaluating(1, 100)
        clock.now += 10
        live.answered(25)
        train, answers = (live._bars.tasks[bar] for bar in (0, 1))
        assert (train.completed, train.total) == (1, 6)
        assert train.fields["note"] == "loss 1.500, about 1 min 40 s of training left"
        assert (answers.description, answers.completed, answers.total) == ("answers after round 1", 25, 100)
        assert answers.fields["note"] == "about 30 s of this evaluation left"
        assert answers.visible
        live.evaluated(1, SUMMARY)
        assert not answers.visible
        live.evaluating(2, 40)  # at the pace of the evaluation before
        live.answered(0)
        assert answers.fields["note"] == "about 16 s of this evaluation left"
