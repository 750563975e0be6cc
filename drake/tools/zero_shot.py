"""`drake eval --zero-shot`: scores of bare backbones on every task, also on tasks that no client trains on."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import nn

from drake.common.files import replacing
from drake.config import Config, preset
from drake.data.benchmark import Benchmark
from drake.models import backbones
from drake.models.prompts import gold_ids
from drake.runs.device import dtype_of, resolve_device
from drake.runs.folder import Overwrite, claim
from drake.runs.provenance import versions
from drake.runs.setup import open_data
from drake.scoring.generation import answers, batches
from drake.scoring.predictions import Prediction
from drake.scoring.sampling import SAMPLE_SEED, sampled_rows
from drake.scoring.scores import answer_row, evaluated_questions, score_rows


class Questions:
    """The test records of some tasks, to ask any model."""

    def __init__(self, benchmark: Benchmark, config: Config, tasks: Iterable[str]) -> None:
        self._config, limit = config, config.evaluation.records
        self._records: dict[str, list[dict[str, Any]]] = {}
        for task in tasks:
            table = benchmark.records(task, "test")
            chosen = sampled_rows(table["answer"], limit, config.evaluation.sample, SAMPLE_SEED, task)
            self._records[task] = [table[row] for row in chosen]
        by_task = evaluated_questions(benchmark, self._records, limit, config.evaluation.sample)
        self._questions = {id: question for of_task in by_task.values() for id, question in of_task.items()}

    def scores(self, backbone: backbones.Backbone, model: nn.Module, tasks: Iterable[str]) -> dict[str, float]:
        """Official score of each task, from 0 to 1; `model` is the backbone's, with or without adapters."""
        rows: list[Prediction] = []
        records = [record for task in tasks for record in self._records[task]]
        lengths = [backbone.prompt_length(record) for record in records]
        groups = ([records[i] for i in group] for group in batches(lengths, _tokens(self._config)))
        for answer in answers(backbone, {0: lambda: model}, groups, self._config.evaluation.max_new_tokens):
            id = answer.record
            question = self._questions[id]
            gold = gold_ids(backbone.tokenizer, question.answer) if question.open_ended else None
            rows.append(answer_row(1, 1, 0, id, answer.text, question, answer.token_ids, gold))
        return {task: score.official for (_, task), score in score_rows(rows, self._questions).items()}


def _tokens(config: Config) -> int:
    """Of an evaluation batch: "auto" is for runs, so it stands for the preset's number here."""
    asked = config.evaluation.tokens
    return int(preset(config.preset).evaluation.tokens) if asked == "auto" else asked


def zero_shot(
    checkpoint: str | Path, benchmark: Benchmark, config: Config, device: str = "cpu", dtype: str = "float32"
) -> dict[str, float]:
    """Official score of a bare backbone on every task of the benchmark, from 0 to 1."""
    backbone = backbones.load(checkpoint, device=device, dtype=dtype_of(dtype), **config.of_backbones)
    return Questions(benchmark, config, benchmark.tasks).scores(backbone, backbone.model, benchmark.tasks)


def score_backbones(config: Config, out: Path, overwrite: Overwrite = "only-missing") -> dict[str, dict[str, float]]:
    """`zero_shot` of the Config's backbones, by name; written to OUT/zero-shot.json. A backbone that is done is not
    scored again."""
    device, dtype = resolve_device(config.execution.device), config.execution.dtype
    benchmark = open_data(config)
    identity = {
        "zero_shot": list(config.models),
        "fingerprint": benchmark.fingerprint,
        **config.unusual_of_backbones,
        "eval_records": config.evaluation.records,
        "eval_sample": config.evaluation.sample,
        "max_new_tokens": config.evaluation.max_new_tokens,
        "device": device,
        "dtype": dtype,
        "versions": versions(),
    }
    claim(out, identity, overwrite)
    scores = {}
    for number, name in enumerate(config.models):
        part = out / "rows" / f"{number}.json"
        if not part.exists():
            with replacing(part) as temporary:
                temporary.write_text(json.dumps(zero_shot(name, benchmark, config, device, dtype)))
        scores[name] = json.loads(part.read_text())
    with replacing(out / "zero-shot.json") as temporary:
        temporary.write_text(json.dumps({"config": identity, "scores": scores}, indent=1) + "\n")
    return scores
