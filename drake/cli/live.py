"""The progress display of the command line: on a terminal a table of the clients and bars with the time left, elsewhere
one line per event."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal

from rich import box
from rich.console import Console, Group
from rich.live import Live as Screen
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from drake.cli.tables import duration, percent
from drake.federation.callbacks import Callback, ClientContext, EvaluationContext, RoundContext, RunContext
from drake.federation.federation import Client
from drake.runs import Setup

ROWS = 20
"""Most clients in the live table."""
OTHER_LINES = 9
"""Lines of the screen that the rows of the live table leave: its title, head and foot, the bars, and the cursor's."""


class Live(Callback):
    """Draws a run. Work left is counted in client-rounds and answers, each at the pace measured so far."""

    def __init__(self, console: Console, setup: Setup) -> None:
        self._console, self._setup = console, setup
        self._named = False
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        self._seed: _Seed | None = None
        self._screen = Screen(get_renderable=self._drawn, console=console, transient=True)
        self._pace = {"train": _Pace(), "eval": _Pace()}

    def __enter__(self) -> Live:
        if self._console.is_terminal:
            self._screen.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._screen.stop()

    def _drawn(self) -> Group:
        if self._seed is None:
            return Group(self._bars)
        most = max(1, min(ROWS, self._console.height - OTHER_LINES))  # the bars must stay in sight
        return Group(self._seed.clients.table(most), self._bars)

    def _print_name(self) -> None:
        setup, self._named = self._setup, True
        training, names = setup.config.training, ", ".join(setup.architectures)
        steps = training.local_steps(setup.method_class.relative_cost)
        self._console.print(
            f"{setup.config.method}: {len(setup.clients)} clients, {len(setup.tasks)} tasks, {setup.rounds} rounds "
            f"of {steps:.3g} steps x {training.micro_batch * training.accumulation} records on {names}"
        )

    def run_started(self, run: RunContext) -> None:
        if not self._named:
            self._print_name()
        seed, rounds_done = run.seed, run.progress.rounds_done
        clients = len(self._setup.clients)
        if rounds_done:
            self._console.print(f"seed {seed}: goes on after round {rounds_done}")
        self._pace["train"].left = clients * (self._setup.rounds - rounds_done)
        if self._seed is not None:
            self._bars.remove_task(self._seed.round_bar)
            self._bars.remove_task(self._seed.answer_bar)
        round_bar = self._bars.add_task(
            f"seed {seed}, client-rounds", total=clients * self._setup.rounds, completed=clients * rounds_done, note=""
        )
        answer_bar = self._bars.add_task("answers", total=None, visible=False, note="")
        self._seed = _Seed(seed, _Clients(self._setup, seed), round_bar, answer_bar)

    @property
    def _now(self) -> _Seed:
        if self._seed is None:
            raise RuntimeError("a run reported progress before it started a seed")
        return self._seed

    def round_started(self, round: RoundContext) -> None:
        now = self._now
        now.clients.begin(round.number, round.participants)
        for client, result in sorted(round.results.items()):
            now.clients.done(round.number, client, result.stats.get("loss"))
        settled = len(self._setup.clients) - len(round.participants - round.results.keys())
        self._pace["train"].left -= settled
        self._bars.update(now.round_bar, advance=settled)

    def client_trained(self, client: ClientContext) -> None:
        now = self._now
        now.clients.done(client.round.number, client.client.id, client.loss)
        self._pace["train"].done(1)
        shown = "nothing has arrived" if client.loss is None else f"loss {client.loss:.3f}"
        self._bars.update(now.round_bar, advance=1, note=f"{shown}{self._left('train')}")

    def round_finished(self, round: RoundContext) -> None:
        if not self._console.is_terminal:
            self._console.print(
                f"seed {self._now.number}: round {round.number + 1} of {self._setup.rounds}{self._left('train')}"
            )

    def answered(self, evaluation: EvaluationContext) -> None:
        pace, total = self._pace["eval"], evaluation.total
        if not evaluation.answered:
            pace.left = total
            pace.start()
            where = f"after round {evaluation.rounds_done}" if evaluation.rounds_done else "zero-shot"
            self._bars.update(
                self._now.answer_bar, description=f"answers {where}", total=total, completed=0, visible=True, note=""
            )
            return
        pace.done(evaluation.answered - (total - pace.left))
        note = self._left("eval").removeprefix(", ")
        self._bars.update(self._now.answer_bar, completed=evaluation.answered, note=note)

    def evaluated(self, evaluation: EvaluationContext) -> None:
        self._bars.update(self._now.answer_bar, visible=False)
        self._pace["train"].start()
        if scores := evaluation.scores:
            self._console.print(
                f"seed {self._now.number}, round {evaluation.rounds_done}: Self {percent(scores['self_last'])}, "
                f"Others {percent(scores['others_last'])}"
            )

    def _left(self, work: Literal["train", "eval"]) -> str:
        """ ", about 3 min 05 s of training left"; empty before anything is measured."""
        seconds = self._pace[work].seconds_left()
        named = {"train": "training", "eval": "this evaluation"}[work]
        return "" if seconds is None else f", about {duration(seconds)} of {named} left"


@dataclass
class _Row:
    """What is known of one client. losses: of the rounds it has trained in, as (round counted from 1, loss)."""

    client: Client
    doing: str = "waiting"
    losses: list[tuple[int, float]] = field(default_factory=list)
    last_seen: int = 0


class _Clients:
    """The live table: a row for each client, of many those that have trained last."""

    def __init__(self, setup: Setup, seed: int) -> None:
        self._setup, self._seed, self._round, self._seen = setup, seed, 0, 0
        self._rows = {client.id: _Row(client) for client in setup.clients}

    def begin(self, round: int, present: frozenset[int]) -> None:
        self._round = round
        for number, row in self._rows.items():
            row.doing = "waiting" if number in present else "out of this round"

    def done(self, round: int, client: int, loss: float | None) -> None:
        row = self._rows[client]
        self._seen += 1
        row.last_seen = self._seen
        row.doing = "nothing has arrived" if loss is None else "trained"
        if loss is not None:
            row.losses = [*row.losses[-1:], (round + 1, loss)]

    def table(self, most: int) -> Table:
        """At most so many rows, in the order of the clients."""
        recent = sorted(self._rows.values(), key=lambda row: (-row.last_seen, row.client.id))[:most]
        hidden = len(self._rows) - len(recent)
        table = Table(
            title=f"seed {self._seed}, round {self._round + 1} of {self._setup.rounds}",
            title_justify="left",
            caption=f"and {hidden} clients more" if hidden else None,
            caption_justify="left",
            box=box.SIMPLE_HEAD,
        )
        for name in ("client", "backbone", "task", "round", "loss", "the round before", "now"):
            table.add_column(name, justify="left" if name in ("backbone", "task", "now") else "right", no_wrap=True)
        for row in sorted(recent, key=lambda row: row.client.id):
            known = [(f"{loss:.3f}", str(round)) for round, loss in row.losses]
            loss, at = known[-1] if known else ("", "")
            before = known[-2][0] if len(known) > 1 else ""
            task = self._setup.learning(row.client, self._round) or "all"
            backbone, task = escape(row.client.backbone), escape(task)  # a folder may be named like markup
            table.add_row(str(row.client.id), backbone, task, at, loss, before, row.doing)
        return table


@dataclass(frozen=True)
class _Seed:
    """What is shown of the seed that runs now: its table and its two bars."""

    number: int
    clients: _Clients
    round_bar: TaskID
    answer_bar: TaskID


class _Pace:
    """Seconds a unit of work takes, while it is worked on."""

    def __init__(self) -> None:
        self.left = 0
        self._spent, self._units, self._since = 0.0, 0, time.perf_counter()

    def start(self) -> None:
        self._since = time.perf_counter()

    def done(self, units: int) -> None:
        now = time.perf_counter()
        self._spent, self._units, self._since = self._spent + now - self._since, self._units + units, now
        self.left -= units

    def seconds_left(self) -> float | None:
        return None if not self._units else self._spent / self._units * self.left
