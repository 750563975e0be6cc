"""`drake eval --zero-shot`: what bare backbones answer to every task, the unseen ones too."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from drake.common.files import replacing
from drake.config import Preset
from drake.data.benchmark import Benchmark
from drake.errors import DrakeError
from drake.models import backbones
from drake.models.prompts import gold_ids
from drake.runs.folder import Overwrite, claim
from drake.runs.provenance import versions
from drake.runs.request import DTYPES, resolve_device
from drake.runs.setup import open_data
from drake.scoring.generation import answers, batches
from drake.scoring.predictions import Prediction
from drake.scoring.scores import answer_row, evaluated_questions, score_rows


class Questions:
    """The test records of some tasks, to ask any model."""

    def __init__(self, benchmark: Benchmark, preset: Preset, tasks: Iterable[str]) -> None:
        self._preset = preset
        self._records: dict[str, list[dict[str, Any]]] = {}
        for task in tasks:
            table = benchmark.records(task, "test")
            self._records[task] = [table[row] for row in range(min(len(table), preset.eval_records or len(table)))]
        by_task = evaluated_questions(benchmark, self._records, preset.eval_records)
        self._questions = {id: question for of_task in by_task.values() for id, question in of_task.items()}

    def scores(self, backbone: backbones.Backbone, model: nn.Module, tasks: Iterable[str]) -> dict[str, float]:
        """Official score of each task, from 0 to 1; `model` is the backbone's, with or without adapters."""
        rows: list[Prediction] = []
        records = [record for task in tasks for record in self._records[task]]
        lengths = [backbone.prompt_length(record) for record in records]
        groups = ([records[i] for i in group] for group in batches(lengths, self._preset.eval_tokens))
        for answer in answers(backbone, {0: lambda: model}, groups, self._preset.max_new_tokens):
            id = answer.record
            question = self._questions[id]
            gold = gold_ids(backbone.tokenizer, question.answer) if question.open_ended else None
            rows.append(answer_row(1, 1, 0, id, answer.text, question, answer.token_ids, gold))
        return {task: score.official for (_, task), score in score_rows(rows, self._questions).items()}


def zero_shot(
    checkpoint: str | Path, benchmark: Benchmark, preset: Preset, device: str = "cpu", dtype: str = "float32"
) -> dict[str, float]:
    """Official score of a bare backbone on every task of the benchmark, from 0 to 1."""
    backbone = backbones.load(checkpoint, device=device, dtype=DTYPES[dtype])
    return Questions(benchmark, preset, benchmark.tasks).scores(backbone, backbone.model, benchmark.tasks)


def score_backbones(
    models: Sequence[str],
    data: str | None,
    preset: Preset,
    out: Path,
    overwrite: Overwrite = "only-missing",
    device: str = "cpu",
    dtype: str | None = None,
) -> dict[str, dict[str, float]]:
    """`zero_shot` of several backbones, by name; written to OUT/zero-shot.json. A backbone that is done is not scored
    again."""
    device, dtype = resolve_device(device), dtype or preset.dtype
    if dtype not in DTYPES:
        raise DrakeError(f"unknown dtype {dtype!r}; known: {', '.join(DTYPES)}.")
    benchmark = open_data(data, preset)
    config = {
        "zero_shot": list(models),
        "fingerprint": benchmark.fingerprint,
        "eval_records": preset.eval_records,
        "max_new_tokens": preset.max_new_tokens,
        "device": device,
        "dtype": dtype,
        "versions": versions(),
    }
    claim(out, config, overwrite)
    scores = {}
    for number, name in enumerate(models):
        part = out / "rows" / f"{number}.json"
        if not part.exists():
            with replacing(part) as temporary:
                temporary.write_text(json.dumps(zero_shot(name, benchmark, preset, device, dtype)))
        scores[name] = json.loads(part.read_text())
    with replacing(out / "zero-shot.json") as temporary:
        temporary.write_text(json.dumps({"config": config, "scores": scores}, indent=1) + "\n")
    return scores
