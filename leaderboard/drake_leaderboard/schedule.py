"""The rounds, evaluation points, begun tasks, losses and times of a results file, held against the schedule that
follows from its settings. Every contradiction is a sentence; nothing is raised.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from drake.data.schedules import SPLITS, num_rounds
from drake.errors import DrakeError
from drake.results import SeedRun

from .claims import Claims, mapping, unequal

MOST_SEED = 1 << 32
MOST_ROUNDS = 100_000
SLACK = timedelta(minutes=2)
"""Clocks of machines differ."""


def contradictions(claims: Claims) -> Iterator[str]:
    """One sentence for each, in results that have the `shapes` of a run."""
    try:
        yield from _schedule(claims)
    except DrakeError as error:  # numbers that nothing can be derived from
        yield str(error).rstrip(".")
    yield from _times(claims)


def _schedule(claims: Claims) -> Iterator[str]:
    config, runs = claims.results.config, claims.results.runs
    if claims.results.data.split not in SPLITS:
        yield f"data.split is {claims.results.data.split!r}, which is no split"
    per_task = mapping(config["numbers"]).get("rounds_per_task")
    if isinstance(per_task, bool) or not isinstance(per_task, int | float):
        raise DrakeError(f"config.numbers.rounds_per_task is {per_task!r}, which is no number")
    longest = max(len(client.tasks) for client in claims.results.clients)
    rounds = num_rounds(longest, per_task)
    if rounds > MOST_ROUNDS:
        raise DrakeError(f"config.numbers.rounds_per_task makes {rounds:,} rounds, more than {MOST_ROUNDS:,}")
    points = config["evaluation_rounds"]
    if points not in _possible_points(longest, per_task, rounds, cast("list[Any]", points)):
        yield (
            f"config.evaluation_rounds is {points}, but a run of {rounds} rounds is evaluated at the ends of the "
            "tasks, or every so many rounds and at the last"
        )
    owned = list(dict.fromkeys(task for client in claims.results.clients for task in client.tasks))
    unseen = [*claims.benchmark.unseen] if config.get("eval_unseen", "none") != "none" else []
    for run in runs:
        who = f"of seed {run.seed}"
        yield from unequal(
            (f"rounds {who}", run.rounds, "config.evaluation_rounds", points),
            (f"tasks {who}", run.tasks, "the tasks of the dataset", owned + unseen),
            (f"begun {who}", run.begun, "the schedule", [_begun(claims, done, per_task) for done in run.rounds]),
        )
        yield from _losses(claims, run, rounds)
        yield from _run(claims, run)
    if any(not 0 <= run.seed < MOST_SEED for run in runs):
        yield f"a seed is below 0 or above {MOST_SEED:,}"
    if len({run.aggregated is None for run in runs}) > 1 or (runs[0].aggregated is None) == (
        config["also_aggregated"] is True
    ):
        yield "config.also_aggregated and the scores after the aggregation disagree"


def _begun(claims: Claims, rounds_done: int, per_task: float) -> list[str]:
    """The tasks whose turn has come after so many rounds, as `Setup.begun` has it."""
    dynamic, reached = claims.results.data.split == "dynamic", rounds_done / per_task
    begun = (
        task
        for client in claims.results.clients
        for number, task in enumerate(client.tasks)
        if number < reached or not dynamic
    )
    return list(dict.fromkeys(begun))


def _losses(claims: Claims, run: SeedRun, rounds: int) -> Iterator[str]:
    if not claims.trains:
        if run.train_loss or run.traffic or run.flops:
            yield f"seed {run.seed} has losses, traffic or flops, but {claims.results.method.name} trains nothing"
        return
    if len(run.train_loss) != rounds:
        yield f"train_loss of seed {run.seed} has {len(run.train_loss)} rounds, the schedule {rounds}"
        return
    longest = max(len(client.tasks) for client in claims.results.clients)
    trains = {client.id for client in claims.results.clients if len(client.tasks) == longest}
    if claims.method is not None and claims.method.pooled:
        trains = {claims.results.models.per_client.index(name) for name in claims.results.models.names}
    for number, losses in enumerate(run.train_loss):
        present = claims.present(run.seed, number)
        for client, loss in enumerate(losses):
            where = f"train_loss of seed {run.seed}, round {number + 1}, client {client}"
            if loss is not None and loss < 0:
                yield f"{where} is {loss}, below zero"
            if present is not None and loss is not None and client not in present:
                yield f"{where} is {loss}, but the client took no part in that round"
            if present is not None and loss is None and client in present & trains:
                yield f"{where} is missing, but the client took part in that round"
            if claims.method is not None and claims.method.pooled and loss is not None and client not in trains:
                yield f"{where} is {loss}, but the first client of its backbone trains for it"


def _run(claims: Claims, run: SeedRun) -> Iterator[str]:
    who, clients = f"of seed {run.seed}", len(claims.results.clients)
    if run.zero_shot is None or any(score is None for line in run.zero_shot["official"] for score in line):
        yield f"zero_shot {who} lacks scores, which every run has"
    if run.relevance is not None and claims.method is not None and not claims.shows_relevance:
        yield f"relevance {who} is there, but {claims.results.method.name} computes none"
    if run.relevance is not None:
        if len(run.relevance) != len(run.train_loss):
            yield f"relevance {who} has {len(run.relevance)} rounds, the run {len(run.train_loss)}"
        values = [value for matrix in run.relevance if matrix for line in matrix for value in line]
        if any(m is not None and (len(m) != clients or {len(line) for line in m} != {clients}) for m in run.relevance):
            yield f"relevance {who} is not of {clients} x {clients} clients"
        if any(value is not None and abs(value) > 1.001 for value in values):
            yield f"relevance {who} holds a cosine above 1"
    if (claims.trains and not run.seconds_train > 0) or not run.seconds_eval > 0:
        yield f"seconds {who} are 0, which no run takes"
    if run.seconds_aggregation is not None and run.seconds_aggregation > run.seconds_train:
        yield f"seconds_aggregation {who} is more than seconds_train, which it is a part of"
    if run.flops is not None and not run.flops > 0:
        yield f"flops {who} are 0, which no training takes"


def _times(claims: Claims) -> Iterator[str]:
    results = claims.results
    times: list[datetime] = []
    for name, text in (("started", results.started), ("finished", results.finished)):
        try:
            found = datetime.fromisoformat(text or "")
            times.append(found if found.tzinfo else found.replace(tzinfo=None).astimezone(UTC))
        except ValueError:
            yield f"{name} is {text!r}, which is no ISO 8601 time"
    if len(times) < 2:
        return
    started, finished = times
    if finished < started:
        yield f"the run finished ({results.finished}) before it started ({results.started})"
    if finished > datetime.now(UTC) + timedelta(days=1):
        yield f"the run finished in the future ({results.finished})"
    spent = sum(run.seconds_train + run.seconds_eval for run in results.runs)
    if spent > 1.05 * results.seconds + SLACK.total_seconds():
        yield f"the seeds took {spent:.0f} seconds together, the whole run {results.seconds:.0f}"
    if results.seconds > 1.05 * (finished - started + SLACK).total_seconds():
        yield f"the run took {results.seconds:.0f} seconds, but finished {finished - started} after it started"


def _possible_points(longest: int, per_task: float, rounds: int, points: Sequence[Any]) -> list[list[int]]:
    """The evaluation rounds that a run can have: the ends of the phases, and the interval that `points` begins with."""
    found = [sorted({num_rounds(phase, per_task) for phase in range(1, longest + 1)} | {rounds})]
    first = points[0] if points else None
    if isinstance(first, int) and not isinstance(first, bool) and 0 < first <= rounds:
        found.append(sorted({*range(first, rounds + 1, first), rounds}))
    return found
