"""Writes docs/tasks.md and the pictures of docs/mini from runs of `drake transfer`; see the commands at the top of
that page.

    python experiments/mini_report.py runs/transfer-tasks runs/transfer-matrix docs
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from drake.catalog import tasks
from drake.data.sources.mini.fairness import read_statistics
from drake.data.sources.mini.sheet import draw
from drake.data.sources.mini.worlds import all_worlds
from drake.results.plots import heatmap

SOLVED = 0.85
"""No task may be answered better than this before training."""


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def command(config: dict) -> str:
    """The flags of `drake transfer` that a run was made with."""
    records = config["evaluation"]["records"]
    return f"--model {config['model']} --steps {config['steps']} --eval-records {records} --seed {config['seed']}"


def per_task(scores: dict[str, dict[str, float]]) -> list[str]:
    """A line per task: chance, words alone, zero-shot, fine-tuned on it."""
    statistics = read_statistics()
    lines = [
        "| task | category | pictures | chance | words alone | zero-shot | fine-tuned |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for name, row in scores.items():
        if name == "zero-shot":
            continue
        about, known = tasks()[name], statistics[name]
        pictures = about.n_images if about.n_images is not None else "varies"
        lines.append(
            f"| {name} | {about.category or 'unseen'} | {pictures} | {percent(known.chance)} | "
            f"{percent(known.text_only_accuracy)} | {percent(scores['zero-shot'][name])} | {percent(row[name])} |"
        )
    return lines


def mean_gains(matrix: dict[str, dict[str, float]]) -> tuple[float, float, int, int]:
    """Mean gain over zero-shot on other tasks of the same world and on tasks of other worlds, and the number of pairs
    of each kind."""
    own: list[float] = []
    foreign: list[float] = []
    for row, scores in matrix.items():
        if row == "zero-shot":
            continue
        for column, score in scores.items():
            if column == row:
                continue
            gain = score - matrix["zero-shot"][column]
            (own if tasks()[row].source == tasks()[column].source else foreign).append(gain)
    return float(np.mean(own)), float(np.mean(foreign)), len(own), len(foreign)


def main(tasks_run: Path, matrix_run: Path, docs: Path) -> None:
    found = {run: json.loads((run / "transfer.json").read_text()) for run in (tasks_run, matrix_run)}
    scores, matrix = found[tasks_run]["scores"], found[matrix_run]["scores"]
    for world in all_worlds().values():
        draw(world, docs / "mini" / f"{world.source}.png")
    columns = list(matrix["zero-shot"])
    values = [[matrix[row][column] for column in columns] for row in matrix]
    title = "fine-tuned on row, scored on column"
    heatmap(values, list(matrix), columns, docs / "mini" / "transfer.png", title, percent=True)
    (docs / "mini" / "transfer.svg").unlink(missing_ok=True)

    statistics = read_statistics()
    trained = {name: row[name] for name, row in scores.items() if name != "zero-shot"}
    solved = [name for name in trained if scores["zero-shot"][name] > SOLVED]
    stuck = [name for name, score in trained.items() if score < statistics[name].chance + 0.10]
    same, other, pairs_same, pairs_other = mean_gains(matrix)
    config, wide = found[tasks_run]["config"], found[matrix_run]["config"]
    numbers = config["training"]
    before, after = (float(np.mean([row[n] for n in trained])) for row in (scores["zero-shot"], trained))
    unmoved = ", ".join(f"{name} ({percent(trained[name])})" for name in stuck) or "none"
    table = "\n".join(f"| {row} | " + " | ".join(percent(matrix[row][c]) for c in columns) + " |" for row in matrix)
    page = f"""# The tasks of the mini suite, measured one by one

How the suite as a whole compares with the paper: [mini.md](mini.md). 47 procedural tasks over 25 visual worlds. How a
world is written: [worlds.md](worlds.md). Everything on this page was measured with `{config["model"]}`,
{config["steps"]} optimizer steps of {numbers["micro_batch"]} records on each task
(rank {numbers["rank"]}, learning rate {numbers["learning_rate"]}), by

    drake transfer --own {command(config)} --out {tasks_run}
    TASKS={",".join(wide["train_tasks"])}
    drake transfer {command(wide)} --train $TASKS --test $TASKS --out {matrix_run}
    python experiments/mini_report.py {tasks_run} {matrix_run} docs

Scores are by protocol `official`, in percent; that of the open-ended iconqa can pass 100 on so few answers, since the
released code counts one match too many. "Words alone" is a classifier that never sees a picture (5-fold,
`python -m drake.data.sources.mini.fairness`).

## Every task

{len(trained)} tasks; zero-shot {percent(before)} on average, fine-tuned {percent(after)}.
Solved before training (over {percent(SOLVED)}): {", ".join(solved) or "none"}.
Still within 10 points of chance after fine-tuning: {unmoved}.

{chr(10).join(per_task(scores))}

## Who helps whom

Fine-tuning on one task changes the score on another task of the same world by {100 * same:+.1f} points on average
({pairs_same} pairs), and on a task of another world by {100 * other:+.1f} points ({pairs_other} pairs), both against
zero-shot. The first row is the bare backbone.

![Transfer matrix](mini/transfer.png)

| trained on | {" | ".join(columns)} |
|---|{"---:|" * len(columns)}
{table}

## The worlds

"""
    page += "\n\n".join(f"![{source}](mini/{source}.png)" for source in all_worlds())
    (docs / "tasks.md").write_text(page + "\n")


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:4]))
