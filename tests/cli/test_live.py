"""What a run shows: lines where nobody watches, a table of the clients and bars with the time left on a terminal."""

import io
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from drake.cli.live import Live
from drake.cli.tables import duration, percent
from drake.federation.callbacks import ClientContext, EvaluationContext, RoundContext, RunContext
from drake.federation.federation import Client
from drake.federation.messages import LocalResult
from drake.federation.state import Progress

TRAINING = SimpleNamespace(local_steps=lambda cost: round(20 / cost), micro_batch=2, accumulation=4)
SETUP = SimpleNamespace(
    config=SimpleNamespace(training=TRAINING, method="fedmosaic"),
    architectures={"small": None, "large": None},
    method_class=SimpleNamespace(relative_cost=2.0),
    clients=(Client(0, "small", ("a", "b")), Client(1, "large", ("c", "a"))),
    tasks=["a", "b", "c"],
    rounds=3,
    learning=lambda client, round: client.tasks[round // 2],
)
SCORES = {"self_last": 0.5, "others_last": 0.12345}


def a_run(seed=0, rounds_done=0):
    return RunContext(SimpleNamespace(seed=seed), None, Progress(rounds_done=rounds_done))


def result(loss):
    return LocalResult({}, None, {} if loss is None else {"loss": loss})


def a_round(number, participants=(), done=()):
    results = {client: result(loss) for client, loss in dict(done).items()}
    return RoundContext(a_run(), number, frozenset(participants), results=results)


def trained(number, client, loss):
    return ClientContext(a_round(number), SimpleNamespace(id=client), result(loss))


def evaluation(rounds_done, answered=0, total=0, scores=()):
    return EvaluationContext(a_run(), rounds_done, answered, total, dict(scores))


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
    with Live(console, SETUP) as live:
        live.run_started(a_run(7, 1))
        live.answered(evaluation(0, 0, 10))
        live.answered(evaluation(0, 10, 10))
        live.evaluated(evaluation(0))
        live.round_started(a_round(1, [0, 1]))
        for client in range(2):
            clock.now += 30
            live.client_trained(trained(1, client, 0.25))
        live.round_finished(a_round(1))
        live.answered(evaluation(2, 0, 10))
        clock.now += 5
        live.answered(evaluation(2, 10, 10))
        live.evaluated(evaluation(2, scores=SCORES))
    assert shown(console) == [
        "fedmosaic: 2 clients, 3 tasks, 3 rounds of 10 steps x 8 records on small, large",
        "seed 7: goes on after round 1",
        "seed 7: round 2 of 3, about 1 min 00 s of training left",
        "seed 7, round 2: Self 50.00, Others 12.35",
    ]


def test_nothing_is_said_of_the_time_left_before_it_is_known():
    console = Console(record=True, force_terminal=False, width=120, file=io.StringIO())
    with Live(console, SETUP) as live:
        live.run_started(a_run())
        live.round_finished(a_round(0))  # no client had anything to train on
    assert shown(console)[-1] == "seed 0: round 1 of 3"


def test_on_a_terminal_both_bars_tell_the_time_left(clock):
    console = Console(force_terminal=True, width=200, file=io.StringIO())
    with Live(console, SETUP) as live:
        live.run_started(a_run())
        clock.now += 20
        live.client_trained(trained(0, 0, 1.5))
        live.answered(evaluation(1, 0, 100))
        clock.now += 10
        live.answered(evaluation(1, 25, 100))
        train, answers = (live._bars.tasks[bar] for bar in (0, 1))
        assert (train.completed, train.total) == (1, 6)
        assert train.fields["note"] == "loss 1.500, about 1 min 40 s of training left"
        assert (answers.description, answers.completed, answers.total) == ("answers after round 1", 25, 100)
        assert answers.fields["note"] == "about 30 s of this evaluation left"
        assert answers.visible
        live.evaluated(evaluation(1, scores=SCORES))
        assert not answers.visible
        live.answered(evaluation(2, 0, 40))
        clock.now += 2
        live.answered(evaluation(2, 5, 40))  # 30 answers in 12 seconds, those of the evaluation before included
        assert answers.fields["note"] == "about 14 s of this evaluation left"


def table(live: Live, height: int = 60) -> list[list[str]]:
    """The lines of what stands above the bars, each cut into its cells."""
    live._console.height = height
    console = Console(record=True, width=120, file=io.StringIO())
    console.print(live._drawn().renderables[0])
    lines = [line.strip() for line in console.export_text().splitlines()]
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines if line.strip("─ ")]


@pytest.fixture
def live(clock):
    """On a terminal of 120 columns; nothing is drawn until a test asks."""
    return Live(Console(force_terminal=True, width=120, file=io.StringIO()), SETUP)


def test_the_table_says_what_every_client_learns_how_well_and_what_it_is_doing(live):
    live.run_started(a_run(7))
    live.round_started(a_round(0, [0, 1]))
    live.client_trained(trained(0, 0, 1.5))
    live.client_trained(trained(0, 1, 2.25))
    live.round_started(a_round(1, [0]))
    live.client_trained(trained(1, 0, 1.25))
    head = ["client", "backbone", "task", "round", "loss", "the round before", "now"]
    assert table(live) == [
        ["seed 7, round 2 of 3"],
        head,
        ["0", "small", "a", "2", "1.250", "1.500", "trained"],
        ["1", "large", "c", "1", "2.250", "out of this round"],
    ]
    live.round_started(a_round(2, [0, 1]))
    live.client_trained(trained(2, 1, None))
    assert table(live)[2:] == [
        ["0", "small", "b", "2", "1.250", "1.500", "waiting"],
        ["1", "large", "a", "1", "2.250", "nothing has arrived"],
    ]


def test_of_many_clients_the_table_shows_those_that_trained_last_and_never_hides_the_bars(clock):
    setup = SimpleNamespace(**vars(SETUP) | {"clients": [Client(i, "small", ("a", "b")) for i in range(100)]})
    live = Live(Console(force_terminal=True, width=120, file=io.StringIO()), setup)
    live.run_started(a_run())
    live.round_started(a_round(0, range(100)))
    for client in range(50, 53):
        live.client_trained(trained(0, client, 1.0))
    _, _, *rows, foot = table(live)
    assert [int(row[0]) for row in rows] == [*range(17), 50, 51, 52]
    assert foot == ["and 80 clients more"]
    _, _, *rows, foot = table(live, height=14)
    live.answered(evaluation(0, 0, 10))
    assert [int(row[0]) for row in rows] == [0, 1, 50, 51, 52]
    assert foot == ["and 95 clients more"]
    console = Console(record=True, width=120, height=14, file=io.StringIO())
    console.print(live._drawn())
    assert len(console.export_text().splitlines()) < 14


def test_who_had_trained_before_a_stop_or_is_out_of_the_round_is_not_waited_for(live, clock):
    live.run_started(a_run(rounds_done=1))
    live.round_started(a_round(1, [0, 1], {0: 0.5}))
    assert table(live)[2] == ["0", "small", "a", "2", "0.500", "trained"]
    (bar,) = (task for task in live._bars.tasks if task.total == 6)
    assert bar.completed == 3
    clock.now += 10
    live.client_trained(trained(1, 1, 0.5))
    live.round_started(a_round(2, [1]))
    assert bar.completed == 5
    assert live._pace["train"].seconds_left() == 10


def test_the_table_and_the_bars_are_on_the_screen_of_a_terminal_and_gone_at_the_end():
    screen = io.StringIO()
    with Live(Console(force_terminal=True, width=120, height=40, file=screen), SETUP) as live:
        live.run_started(a_run(7))
        live.round_started(a_round(0, [0, 1]))
        live.client_trained(trained(0, 1, 2.25))
        live._screen.refresh()
        drawn = screen.getvalue()
    assert "2.250" in drawn
    assert "client-rounds" in drawn
    assert screen.getvalue().endswith("\x1b[1A\x1b[2K")  # the lines are taken back
