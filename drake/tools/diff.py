"""Where two runs first differ: in their settings, then in order of time in losses, messages, relevance and answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from drake.common.differences import setting_differences
from drake.results import SeedRun, load
from drake.scoring.predictions import Prediction, prediction_path, read_predictions


@dataclass
class Difference:
    """What is not the same in two runs.

    settings: "key (value in A, value in B)" of everything that decides a result. first: the first thing that came out
    differently, in words; None if nothing did. counts: what differs in all, by kind: (differing, compared).
    """

    settings: list[str] = field(default_factory=list)
    first: str | None = None
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)

    def note(self, kind: str, differs: bool, sentence: str) -> None:
        """Count one comparison, and keep the first difference."""
        differing, compared = self.counts.get(kind, (0, 0))
        self.counts[kind] = differing + differs, compared + 1
        if differs and self.first is None:
            self.first = sentence


def compare(a: Path, b: Path) -> Difference:
    """Compare two run folders, seed by seed. DrakeError for a folder without results."""
    results = load(a), load(b)
    found = Difference(list(setting_differences(results[0].config, results[1].config)))
    runs = [{run.seed: run for run in of.runs} for of in results]
    for seed in sorted(runs[0].keys() | runs[1].keys()):
        if seed in runs[0] and seed in runs[1]:
            _compare_seed(found, (a, b), seed, runs[0][seed], runs[1][seed])
        else:
            missing = a if seed not in runs[0] else b
            found.note("seeds", True, f"seed {seed} is missing in {missing}")
    return found


def _compare_seed(found: Difference, folders: tuple[Path, Path], seed: int, a: SeedRun, b: SeedRun) -> None:
    _compare_answers(found, folders, seed, 0, "before training")
    relevance = [run.relevance or [None] * len(run.train_loss) for run in (a, b)]
    for round, losses in enumerate(zip_longest(a.train_loss, b.train_loss), start=1):
        where = f"seed {seed}, round {round}"
        if None in losses:
            found.note("rounds", True, f"{where} is missing in {folders[losses.index(None)]}")
            break
        for client, (one, other) in enumerate(zip_longest(*losses)):
            found.note("losses", one != other, f"{where}, client {client}: loss {one} against {other}")
        sent = [{(t.client, t.direction, t.kind): t.bytes for t in run.traffic if t.round == round} for run in (a, b)]
        for key in sorted(sent[0].keys() | sent[1].keys()):
            one, other = (of.get(key, 0) for of in sent)
            what = f"{where}, client {key[0]}: {one} bytes {key[1]} ({key[2]}) against {other}"
            found.note("messages", one != other, what)
        one, other = (matrices[round - 1] for matrices in relevance)
        found.note("relevance", one != other, f"{where}: the relevance differs")
        if round in a.rounds and round in b.rounds:
            _compare_answers(found, folders, seed, a.rounds.index(round) + 1, f"after round {round}")
    if a.rounds != b.rounds:
        found.note("points", True, f"seed {seed} was evaluated after rounds {a.rounds} against {b.rounds}")


def _compare_answers(found: Difference, folders: tuple[Path, Path], seed: int, point: int, when: str) -> None:
    rows: list[dict[tuple[int, str, str], Prediction]] = []
    for folder in folders:
        path = prediction_path(folder, seed, point)
        rows.append({(r.client, r.task, r.id): r for r in read_predictions(path)} if path.exists() else {})
    for key in sorted(rows[0].keys() | rows[1].keys()):
        texts = [repr(of[key].text) if key in of else "no answer" for of in rows]
        what = f"seed {seed}, {when}, client {key[0]}, {key[2]}: {texts[0]} against {texts[1]}"
        found.note("answers", texts[0] != texts[1], what)
