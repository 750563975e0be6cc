"""The card (README.md) of an exported model, with metadata that the Hugging Face Hub reads.

It says what the model is, how it was trained, on what, what it scored and how that was measured, and how it is loaded.
Scores stand in the metadata only where the exported model is the one that was scored.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import EvalResult, ModelCardData

from drake import catalog
from drake.federation import registry
from drake.results import SeedRun
from drake.results.converters import HUB_FOLDER, hub_dataset, hub_entries, write_hub
from drake.runs.stored import StoredRun
from drake.tools.exported_scores import ClientScores, client_scores

CARD = "README.md"


class Exported(NamedTuple):
    """A model that was written. merged: a whole checkpoint, else an adapter."""

    run: Path
    config: StoredRun
    client: int
    seed: int
    merged: bool


def write(model: Exported, folder: Path, dataset_id: str | None = None) -> None:
    """Write the card into the folder of the model, and .eval_results/drake.yaml where a dataset on the Hub is known.
    dataset_id: that dataset; default: what the run read."""
    scores = client_scores(model.run, model.client, model.seed)
    measured = scores if scores is not None and scores.same_model else None
    if measured is not None:
        named = dataset_id or hub_dataset(measured.results)
        if named is not None:
            (folder / HUB_FOLDER).mkdir()
            write_hub(client_entries(measured, model, named), folder / HUB_FOLDER / "drake.yaml")
    text = f"---\n{_metadata(model, measured, dataset_id).to_yaml()}\n---\n\n{_body(model, scores)}\n"
    (folder / CARD).write_text(text, encoding="utf-8")


def client_entries(scores: ClientScores, model: Exported, dataset_id: str) -> list[dict[str, object]]:
    """The hub's evaluation results of a client's model."""
    records = sorted({task.records for task in scores.tasks})
    count = f"{records[0]}" if len(records) == 1 else f"{records[0]} to {records[-1]}"
    notes = (
        f"percent; client {model.client} of {len(model.config.assignment)}, {_plain(model.config.method)}, seed "
        f"{model.seed}; official matching, {count} test records"
    )
    return hub_entries(
        [(task.task, task.official) for task in scores.tasks], dataset_id, notes, scores.results.finished
    )


def _metadata(model: Exported, scores: ClientScores | None, dataset_id: str | None) -> ModelCardData:
    known = catalog.models().get(model.config.assignment[model.client])
    hub = known.hub_id if known is not None else None
    if known is not None and known.embedded:
        licence: dict[str, Any] = {"license": "apache-2.0"}
    else:
        licence = {"license": "other", "license_name": "as-the-base-model"}
        licence |= {"license_link": f"https://huggingface.co/{hub}"} if hub else {}
    dataset = dataset_id or (hub_dataset(scores.results) if scores is not None else None)
    results = [] if scores is None else _eval_results(scores, dataset)
    found = ModelCardData(
        library_name="transformers" if model.merged else "peft",
        pipeline_tag="image-text-to-text",
        tags=["drake", "federated-learning", "personalized-federated-learning", *([] if model.merged else ["lora"])],
        base_model=hub,
        datasets=None if dataset is None else [dataset],
        model_name=_title(model) if results else None,
        eval_results=results or None,
        **licence,
    )
    if hub is not None:
        found["base_model_relation"] = "finetune" if model.merged else "adapter"
    return found


def _eval_results(scores: ClientScores, dataset_id: str | None) -> list[EvalResult]:
    data = scores.results.data
    return [
        EvalResult(
            task_type="image-text-to-text",
            dataset_type=dataset_id or _plain(data.name),
            dataset_name=f"{_plain(data.name)}, {task.task}",
            dataset_config=task.task,
            dataset_split="test",
            dataset_args={"fingerprint": data.fingerprint, "records": task.records},
            metric_type="accuracy" if task.metric == "accuracy" else "f1",
            metric_name=f"{task.metric}, official matching, percent",
            metric_value=round(100 * task.official, 2),
        )
        for task in scores.tasks
    ]


def _title(model: Exported) -> str:
    return f"{_plain(model.config.method)}-client-{model.client}"


def _body(model: Exported, scores: ClientScores | None) -> str:
    config = model.config
    backbone = _plain(Path(config.assignment[model.client]).name)
    kind = "whole checkpoint" if model.merged else "LoRA adapter (PEFT)"
    reference = registry.find(config.method).reference
    about = (
        f"The personal model of client {model.client} in a federation of {len(config.assignment)}, as a {kind}, made "
        f"with [DRAKE](https://arxiv.org/abs/2506.11024), a benchmark of personalised federated learning. Method: "
        f"{_plain(config.method)}{f' ({_plain(reference)})' if reference else ''}."
    )
    parts = [
        f"# {_title(model)} on {backbone}",
        about,
        "## Training\n\n" + _training(model, scores),
        "## Scores\n\n" + _scores(scores),
        "## Use\n\n" + _usage(model),
        "## Licence and limits\n\n" + _licence(model, scores),
    ]
    return "\n\n".join(parts)


def _training(model: Exported, scores: ClientScores | None) -> str:
    config, training = model.config, model.config.numbers.training
    revision = config.revisions[config.assignment[model.client]]
    rows = {"Backbone": f"{_base(model)[0]}, revision {_plain(revision)}"}
    others = sorted({_plain(Path(name).name) for name in config.assignment})
    rows["Backbones of the federation"] = ", ".join(others)
    if registry.find(config.method).trains:
        rows |= {
            "Rounds": f"{max(config.evaluation_rounds)}",
            "Records per step": f"{training.micro_batch * training.accumulation}",
            "Learning rate": f"{training.learning_rate:g}",
            "Rank and alpha": f"{training.rank}, {training.alpha:g}",
            "Seed": f"{model.seed}",
            "Type of the backbone's weights": config.dtype,
        }
    if config.options and registry.find(config.method).trains:
        rows["Options of the method"] = ", ".join(f"{_plain(k)} = {_plain(v)}" for k, v in config.options.items())
    if scores is not None:
        data = scores.results.data
        rows["Dataset"] = f"{_plain(data.name)}, fingerprint {_plain(data.fingerprint)}, schedule {_plain(data.split)}"
        own = scores.results.clients[model.client].tasks
        rows["Tasks of this client, as they arrive"] = ", ".join(map(_plain, own))
    return _table([("", ""), *rows.items()])


def _scores(scores: ClientScores | None) -> str:
    if scores is None:
        return "Not measured: the run holds no finished results of this client."
    lines = [("Own task", "Metric", "Test records", "Official (%)", "Strict (%)", "Bare backbone, official (%)")]
    for task in scores.tasks:
        before = "" if task.before is None else f"{100 * task.before:.2f}"
        figures = (f"{100 * task.official:.2f}", f"{100 * task.strict:.2f}", before)
        lines.append((_plain(task.task), task.metric, f"{task.records}", *figures))
    model = (
        "this model"
        if scores.same_model
        else "the client's model before the last aggregation, which the model here has received; its own scores were "
        "not measured (`drake eval --also-aggregated` measures them)"
    )
    run: SeedRun = scores.results.runs[0]
    others = "" if scores.others is None else f" On the tasks of other clients it scores {100 * scores.others:.2f}%."
    return (
        f"{_table(lines)}\n\nMean over its own tasks: {100 * scores.mean:.2f}% (official).{others} Scored was {model}, "
        f"after round {run.rounds[-1]}, on records that were not trained on, with greedy answers. Official: answers "
        "are matched as the code of DRAKE's authors does; strict: without its tolerance. Token F1 compares tokens of "
        "open answers. One seed; differences of a few points may be chance."
    )


def _usage(model: Exported) -> str:
    if model.merged:
        code = (
            "from transformers import AutoModelForImageTextToText, AutoProcessor\n\n"
            'model = AutoModelForImageTextToText.from_pretrained("THIS_FOLDER")\n'
            'processor = AutoProcessor.from_pretrained("THIS_FOLDER")'
        )
        return f"A LLaVA needs transformers 4.47 or later.\n\n```python\n{code}\n```"
    code = (
        "from peft import PeftModel\n"
        "from transformers import AutoModelForImageTextToText, AutoProcessor\n"
        f"{_base(model)[1]}\n"
        'model = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(base), "THIS_FOLDER")\n'
        "processor = AutoProcessor.from_pretrained(base)"
    )
    return f"transformers and PEFT.\n\n```python\n{code}\n```"


def _base(model: Exported) -> tuple[str, str]:
    """The backbone in words, and the code that finds it, without the folders of this machine."""
    name = model.config.assignment[model.client]
    known = catalog.models().get(name)
    if known is not None and known.embedded:
        found = f'from drake.models.checkpoints import WEIGHTS_FOLDER\n\nbase = str(WEIGHTS_FOLDER / "{name}")'
        return f"{name}, which ships with DRAKE", found
    if known is not None and known.hub_id is not None:
        return known.hub_id, f'base = "{known.hub_id}"'
    return f"{_plain(Path(name).name)}, a folder", f'base = "FOLDER_OF/{_plain(Path(name).name)}"'


def _licence(model: Exported, scores: ClientScores | None) -> str:
    known = catalog.models().get(model.config.assignment[model.client])
    if known is not None and known.embedded:
        lines = ["The backbone is part of DRAKE, under the Apache License 2.0, and so are these weights."]
    else:
        lines = ["The licence of the backbone holds for these weights; see its own page."]
    if scores is not None and scores.results.data.source == "mini":
        lines.append("The training records are procedural and part of DRAKE.")
    elif scores is not None:
        tasks = catalog.tasks()
        own = [tasks[task] for task in scores.results.clients[model.client].tasks if task in tasks]
        sources = {task.source_full: task for task in own}
        lines.append("The licences of the training data may restrict the use of a model that was trained on them.")
        lines += [f"\n- {_plain(name)}: {_plain(task.licence)}" for name, task in sources.items()]
    end = "Trained for short answers to the questions of one benchmark; not tested for anything else."
    return " ".join(lines[:2]) + "".join(lines[2:]) + f"\n\n{end}"


def _table(rows: list[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _plain(value: object) -> str:
    """A name of a run folder, which may come from anybody, as text without markup."""
    return re.sub(r"[^\w .,:;()/+=@%&'-]", "", str(value))[:300]
