"""A consistent run folder of two clients with two tasks each, made by hand: no model, no dataset on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from drake.config import preset
from drake.federation import registry
from drake.results import (
    ClientInfo,
    DataInfo,
    Environment,
    Machine,
    MethodInfo,
    ModelsInfo,
    Results,
    SeedRun,
    Traffic,
    aggregate,
    save,
    score_table,
    seed_summary,
)
from drake.scoring.answers import PROTOCOLS
from drake.scoring.predictions import prediction_path, write_predictions
from drake.scoring.scores import answer_row, evaluated_questions, score_matrix, score_rows, unparsed_rate

CLIENTS = (("Colour-0", "Colour-1"), ("Shape-0", "Words-0"))
TASKS = tuple(task for client in CLIENTS for task in client)
ROUNDS = (2, 4)
BEGUN = (["Colour-0", "Shape-0"], list(TASKS))
RECORDS = 4
CHOICES = {"Colour-0": ["red", "blue"], "Colour-1": ["green", "pink"], "Shape-0": ["star", "ring"]}
VOCABULARY = {"cup": 5, "tree": 6, "boat": 7}


class HandMadeBenchmark:
    """What a check needs of an opened dataset: fingerprint, clients, test records."""

    fingerprint = "f1" * 32
    clients = CLIENTS
    name, source, seed, unseen = "DRAKE mini", "mini", 0, ()

    def records(self, task: str, split: str) -> Dataset:
        assert split == "test"
        return Dataset.from_list([self._record(task, number) for number in range(RECORDS + 1)])

    rows = records

    @staticmethod
    def _record(task: str, number: int) -> dict[str, Any]:
        choices = CHOICES.get(task, [])
        listed = f"\nChoice list:[{', '.join(choices)}]. Your answer is:" if choices else " Answer with one word."
        return {
            "id": f"{task}/test/{number:06d}",
            "task": task,
            "prompt": f"<image>\nWhat is it?{listed}",
            "choices": choices,
            "answer": choices[number % 2] if choices else list(VOCABULARY)[number % 3],
            "metric": "accuracy" if choices else "token-F1",
        }


Fabricate = Callable[..., Path]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> HandMadeBenchmark:
    """The hand-made data, found whatever path is opened, and in place of the embedded mini suite."""
    made = HandMadeBenchmark()
    monkeypatch.setattr("drake.data.building.cached_mini", lambda **sizes: "the embedded suite")
    monkeypatch.setattr("drake.data.benchmark.load", lambda path: made)
    return made


@pytest.fixture
def fabricate(tmp_path: Path, benchmark: HandMadeBenchmark) -> Fabricate:
    """(name, method, right, seeds, **changes of Results) -> the run's folder.

    right: how many of the four answers to every question set are right, per evaluation point after training.
    """

    def make(
        name: str = "run",
        method: str = "sft",
        right: tuple[int, ...] = (1, 3),
        seeds: tuple[int, ...] = (0,),
        sent: int = 1000,
        **changes: Any,
    ) -> Path:
        folder = tmp_path / "runs" / name
        clients = [ClientInfo(id=i, model="model", tasks=list(tasks)) for i, tasks in enumerate(CLIENTS)]
        options = dict(_options(method))
        runs = [_seed_run(folder, benchmark, clients, seed, right, sent) for seed in seeds]
        values: dict[str, Any] = {
            "status": "complete",
            "method": MethodInfo(
                name=method, reference=_reference(method), options=options, relative_cost=1.0, local_steps=8, batch=8
            ),
            "evaluate_at": "aggregated",
            "preset": "mini",
            "config": _config(method, options, seeds),
            "data": DataInfo(
                name="DRAKE mini",
                source="mini",
                fingerprint=benchmark.fingerprint,
                split="dynamic",
                seed=0,
                path=None,
            ),
            "models": ModelsInfo(
                names=["model"], assignment="even:model", per_client=["model", "model"], revisions={"model": "1"}
            ),
            "clients": clients,
            "runs": runs,
            "summary": aggregate(runs),
            "environment": Environment(
                python="3.12.0",
                packages={"numpy": "2.0"},
                git_commit=None,
                git_dirty=None,
                machine=Machine(cpu="a processor", cores=2, threads=1, processes=1),
                device="cpu",
                dtype="float32",
            ),
            "started": "2026-01-01T00:00:00+00:00",
            "finished": "2026-01-01T00:10:00+00:00",
            "seconds": 600.0,
        }
        save(Results(**(values | changes)), folder)
        return folder

    return make


def _class(method: str) -> Any:
    return registry.find(method) if method in registry.names() else None


def _reference(method: str) -> str:
    return _class(method).reference if _class(method) else "A paper"


def _options(method: str) -> dict[str, Any]:
    return asdict(_class(method).Options()) if _class(method) else {}


def _config(method: str, options: dict[str, Any], seeds: tuple[int, ...]) -> dict[str, Any]:
    """What a run of the preset mini records, with two rounds for every task and four records."""
    standard = preset("mini")
    training = asdict(standard.training)
    del training["optimizer_state"]
    data = {"train": standard.data.train, "test": standard.data.test, "public": standard.data.public}
    return {
        "method": method,
        "options": options,
        "preset": "mini",
        "numbers": {
            "rounds_per_task": ROUNDS[0],
            **data,
            "eval_records": RECORDS,
            "max_new_tokens": standard.evaluation.max_new_tokens,
            "eval_tokens": standard.evaluation.tokens,
            "dtype": "float32",
            "models": ["model"],
            "training": training,
        },
        "eval_records": RECORDS,
        "eval_records_others": None,
        "eval_sample": "first",
        "evaluate_at": "aggregated",
        "also_aggregated": False,
        "assignment": ["model"] * len(CLIENTS),
        "revisions": {"model": "1"},
        "data": {
            "fingerprint": HandMadeBenchmark.fingerprint,
            "seed": 0,
            "train": data["train"],
            "test": data["test"],
            "public_per_world": data["public"],
        },
        "split": "dynamic",
        "alpha": 0.5,
        "attendance": {"participation": 1.0, "dropout": 0.0, "deadline": None},
        "seeds": list(seeds),
        "device": "cpu",
        "dtype": "float32",
        "eval_tokens": {"model": 2048},
        "compile": False,
        "evaluation_rounds": list(ROUNDS),
        "versions": {"numpy": "2.0"},
    }


def _seed_run(
    folder: Path,
    benchmark: HandMadeBenchmark,
    clients: list[ClientInfo],
    seed: int,
    right: tuple[int, ...],
    sent: int,
) -> SeedRun:
    questions = evaluated_questions(benchmark, TASKS, RECORDS)
    by_id = {id: question for of_task in questions.values() for id, question in of_task.items()}
    scored = []
    for point, (after, begun) in enumerate(((0, TASKS), *zip(ROUNDS, BEGUN, strict=True))):
        hits = right[point - 1] + seed if point else 0  # before training all seeds are the same
        rows = [
            answer_row(
                point,
                after,
                client,
                id,
                question.answer if number < hits else "cloud",
                question,
                [VOCABULARY[question.answer] if number < hits else 9] if question.open_ended else None,
                [VOCABULARY[question.answer]] if question.open_ended else None,
            )
            for client in range(len(CLIENTS))
            for task in begun
            for number, (id, question) in enumerate(questions[task].items())
        ]
        write_predictions(prediction_path(folder, seed, point), rows)
        scored.append(score_rows(rows, by_id))
    matrices = [{p: score_matrix(point, len(CLIENTS), TASKS, p) for p in PROTOCOLS} for point in scored]
    run = SeedRun(
        seed=seed,
        rounds=list(ROUNDS),
        tasks=list(TASKS),
        begun=list(BEGUN),
        scores={p: [point[p] for point in matrices[1:]] for p in PROTOCOLS},
        zero_shot=matrices[0],
        unparsed=unparsed_rate(score for point in scored[1:] for score in point.values()),
        summary={},
        traffic=[
            Traffic(round=round, client=client, direction=direction, kind="adapter", bytes=sent)
            for round in range(1, ROUNDS[-1] + 1)
            for client in range(len(CLIENTS))
            for direction in ("up", "down")
        ],
        seconds_train=90.0,
        seconds_aggregation=None,
        seconds_eval=30.0,
        flops=1.5e12 + seed * 1e12,
        train_loss=[[1.0 + seed / 8, 2.0 - seed / 8]] * ROUNDS[-1],
        relevance=None,
    )
    return run.model_copy(update={"summary": {p: seed_summary(score_table(run, p, clients)) for p in PROTOCOLS}})
