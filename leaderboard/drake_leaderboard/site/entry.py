"""What the page of a submission shows: scores, curves, a heat map of clients and tasks, relevance, costs, settings."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import Any, NamedTuple

from drake.common.outside import shown
from drake.results import Estimate, Results, SeedRun
from drake.scoring.answers import PROTOCOLS

from ..columns import percent, readable_bytes
from .curves import SIDES, Curves, chart, curves, line
from .tracks import Figure

LEVELS = 20
"""Shades of a heat map in style.css, beside the lightest."""
SUMMARY = {
    "self_last": "Self A_last",
    "self_auc": "Self A_AUC",
    "others_last": "Others A_last",
    "others_auc": "Others A_AUC",
    "worst_decile": "Lowest tenth of clients",
    "clients_std": "Standard deviation over clients",
    "forgetting": "Forgetting",
    "unseen_last": "Unseen tasks",
}
"""Field of SeedSummary -> its name on the page."""
MOST_VALUE = 400
"""Characters of a value of the configuration."""


class Shade(NamedTuple):
    """A cell of a heat map. level: 0 to LEVELS, -1 where there is no number. own: whether it is to be outlined."""

    text: str
    level: int
    own: bool = False


class Heat(NamedTuple):
    """A heat map. rows: (heading, cells)."""

    heads: list[str]
    rows: list[tuple[str, list[Shade]]]
    note: str


class Client(NamedTuple):
    """A client's backbone, tasks in order of arrival and Self at the last point."""

    id: int
    model: str
    tasks: str
    score: str


class View(NamedTuple):
    """Everything on the page that follows from results.json."""

    summary: list[tuple[str, list[str]]]
    figures: list[Figure]
    tasks: Heat
    relevance: Heat | None
    clients: list[Client]
    costs: list[tuple[str, str]]
    settings: list[tuple[str, str]]
    environment: list[tuple[str, str]]
    seeds: str


def view(results: Results) -> View:
    """The content of a submission's page."""
    return View(
        summary=_summary(results),
        figures=_figures(results),
        tasks=_tasks(results),
        relevance=_relevance(results),
        clients=_clients(results),
        costs=_costs(results),
        settings=[*_flat("method", results.method.model_dump()), *_flat("config", results.config)],
        environment=[*_flat("environment", results.environment.model_dump()), ("finished", results.finished or "")],
        seeds=", ".join(str(run.seed) for run in results.runs),
    )


def _summary(results: Results) -> list[tuple[str, list[str]]]:
    """(name, one text per protocol) of every average that is known."""
    unknown = Estimate(mean=None, stderr=None, n=0)
    found: list[tuple[str, list[str]]] = []
    for name, title in SUMMARY.items():
        values = [percent(results.summary.get(protocol, {}).get(name, unknown)) for protocol in PROTOCOLS]
        if any(values):
            found.append((title, values))
    return found


def _figures(results: Results) -> list[Figure]:
    before = curves(results)
    if before is None:
        return []
    series: list[tuple[str, Curves, int, bool]] = [("official", before, 0, False)]
    if strict := curves(results, "strict"):
        series.append(("strict", strict, 1, False))
    if after := curves(results, aggregated=True):
        series[0] = ("before aggregation", before, 0, False)
        series.append(("after aggregation", after, 2, True))
    figures: list[Figure] = []
    for side, heading in SIDES.items():
        drawn = [line(found, side, name, colour, dashed=dashed) for name, found, colour, dashed in series]
        head = ["Scores", *(f"Round {after}" for after in before.rounds)]
        numbers = [[name, *map(percent, found.scores[side])] for name, found, _, _ in series]
        note = "Mean over seeds; the band is one standard error."
        figures.append(Figure(f"{heading} over rounds", chart(side, drawn), note, head, numbers))
    return figures


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean; None where one is missing."""
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None


def _tasks(results: Results) -> Heat:
    """Tasks by clients at the last point, mean over seeds, protocol official; a client's own tasks are outlined."""
    runs = [run for run in results.runs if run.rounds]
    order = [task for client in results.clients for task in client.tasks]
    order += [task for run in runs[:1] for task in run.tasks if task not in set(order)]
    rows: list[tuple[str, list[Shade]]] = []
    for task in dict.fromkeys(order):
        cells: list[Shade] = []
        for client in results.clients:
            score = _mean([_last(run, client.id, task) for run in runs])
            level = -1 if score is None else round(LEVELS * min(score, 1.0))
            cells.append(Shade("" if score is None else f"{100 * score:.0f}", level, task in client.tasks))
        rows.append((task, cells))
    note = "Percent, protocol official, mean over seeds. Outlined: the client's own tasks. Empty: not asked."
    return Heat([str(client.id) for client in results.clients], rows, note)


def _last(run: SeedRun, client: int, task: str) -> float | None:
    return run.scores["official"][-1][client][run.tasks.index(task)] if task in run.tasks else None


def _relevance(results: Results) -> Heat | None:
    """S_ij of the last round that has it, mean over seeds; None for methods without relevance."""
    found = [next((m for m in reversed(run.relevance) if m is not None), None) for run in results.runs if run.relevance]
    matrices = [matrix for matrix in found if matrix is not None]
    clients = range(len(results.clients))
    if not matrices or any(len(matrix) != len(clients) for matrix in matrices):
        return None
    mean = [[_mean([matrix[i][j] for matrix in matrices]) for j in clients] for i in clients]
    others = [value for i in clients for j in clients if i != j and (value := mean[i][j]) is not None]
    if not others:
        return None
    low, high = min(others), max(others)

    def shade(i: int, j: int) -> Shade:
        value = mean[i][j]
        if value is None:
            return Shade("", -1)
        share = (value - low) / (high - low) if high > low else 0.5
        return Shade(f"{value:.3f}", -1 if i == j else round(LEVELS * share), i == j)

    rows = [(str(i), [shade(i, j) for j in clients]) for i in clients]
    note = (
        "Task relevance of client j (column) for client i (row) in the last round that measured it, mean over seeds. "
        f"Shades go from {low:.3f} to {high:.3f}; the diagonal is outlined and not shaded."
    )
    return Heat([str(j) for j in clients], rows, note)


def _clients(results: Results) -> list[Client]:
    found: list[Client] = []
    for client in results.clients:
        lasts = [run.summary["official"].clients_last for run in results.runs if "official" in run.summary]
        score = _mean([values[client.id] if client.id < len(values) else None for values in lasts])
        text = "" if score is None else f"{100 * score:.2f}"
        found.append(Client(client.id, client.model, ", ".join(client.tasks), text))
    return found


def _costs(results: Results) -> list[tuple[str, str]]:
    """(name, text) of what a seed cost, mean over seeds."""
    runs = results.runs
    if not runs:
        return []
    per_kind: Counter[tuple[str, str]] = Counter()
    for run in runs:
        for message in run.traffic:
            per_kind[message.direction, message.kind] += message.bytes
    words = {"up": "Sent to the server", "down": "Received from the server"}
    found: list[tuple[str, str]] = []
    for direction, text in words.items():
        total = sum(count for (way, _), count in per_kind.items() if way == direction)
        found.append((f"{text}, all clients and rounds", readable_bytes(total / len(runs))))
        kinds = sorted((kind, count) for (way, kind), count in per_kind.items() if way == direction)
        found += [(f"{text}: {kind}", readable_bytes(count / len(runs))) for kind, count in kinds if len(kinds) > 1]
    found.append(("Training, minutes", f"{fmean(run.seconds_train for run in runs) / 60:.1f}"))
    aggregation = _mean([run.seconds_aggregation for run in runs])
    if aggregation is not None:
        found.append(("Of these, aggregation on the server", f"{aggregation / 60:.2f}"))
    found.append(("Evaluation, minutes", f"{fmean(run.seconds_eval for run in runs) / 60:.1f}"))
    flops = _mean([run.flops for run in runs])
    if flops is not None:
        found.append(("Operations of local training, TFLOP", f"{flops / 1e12:.3g}"))
    found.append(
        ("Answers to choice questions that name no choice", f"{100 * fmean(run.unparsed for run in runs):.2f}%")
    )
    found.append(("Optimizer steps per client and round", f"{results.method.local_steps:.2f}"))
    found.append(("Compute of a step, relative to SFT's", f"{results.method.relative_cost:g}"))
    return found


def _flat(prefix: str, value: Any) -> list[tuple[str, str]]:
    """Nested settings as (dotted key, text)."""
    if isinstance(value, dict) and value:
        return [pair for key, part in value.items() for pair in _flat(f"{prefix}.{key}", part)]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return [(shown(prefix, MOST_VALUE), shown(text, MOST_VALUE))]
