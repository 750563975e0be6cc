"""Results in the formats of others: Every Eval Ever, and the evaluation-results file of the Hugging Face Hub.

Every Eval Ever (https://github.com/evaleval/every_eval_ever, schema 0.2.2): one JSON file per evaluation, kept as
data/BENCHMARK/DEVELOPER/MODEL/UUID.json. A federation is one entry: its model is the method with its backbones.

The Hub (https://huggingface.co/docs/hub/eval-results): a list of entries in .eval_results/NAME.yaml of a model's
repository, so of one client. It names the benchmark's dataset and, as task_id, a task of DRAKE.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from drake.common.files import replacing
from drake.errors import DrakeError
from drake.results.schema import Estimate, Results
from drake.results.summaries import estimate

SCHEMA_VERSION = "0.2.2"
"""Of Every Eval Ever."""
HUB_FOLDER = ".eval_results"
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_HEADLINES = {
    "self_last": ("Self A_last", "mean over clients of the mean over their own tasks, after the last round"),
    "others_last": ("Others A_last", "mean over clients of the mean over the tasks of all other clients, then"),
    "self_auc": ("Self A_AUC", "Self, averaged over all evaluation points"),
    "others_auc": ("Others A_AUC", "Others, averaged over all evaluation points"),
    "worst_decile": ("Worst tenth of clients", "Self of the lowest tenth of clients, after the last round"),
    "unseen_last": ("Unseen A_last", "mean over clients and over tasks that no client trains on, after the last round"),
}
"""Field of SeedSummary -> (name, meaning) of the figures that are converted, where they are known."""


def every_eval_ever(
    results: Results, model_id: str, organization: str, now: float, dataset_id: str | None = None
) -> dict[str, Any]:
    """The record of a complete run. model_id: "developer/model". organization: who made the evaluation. now: seconds
    since 1970. dataset_id: the repository of the dataset on the Hub, if it is there.

    DrakeError for a run that is not complete and an id of another form.
    """
    _check(results, model_id, "--model-id")
    if dataset_id is not None:
        check_hub_id(dataset_id, "--dataset-id")
    evaluation = f"{_slug(results.data.name)}/{model_id}/{now}"
    here = bool(results.runs[0].train_loss)
    found = [_headline(results, name) for name in _HEADLINES if results.summary["official"][name].mean is not None]
    common = {"source_data": _source(results, dataset_id), "generation_config": _generation(results)}
    record = {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": evaluation,
        "retrieved_timestamp": str(now),
        "source_metadata": {
            "source_name": "DRAKE",
            "source_type": "evaluation_run",
            "source_organization_name": organization,
            # Whoever runs DRAKE trains the models, but for adapters from elsewhere.
            "evaluator_relationship": "first_party" if here else "third_party",
        },
        "eval_library": {"name": "drake-bench", "version": _version(results, "drake-bench")},
        "model_info": {
            "name": f"{results.method.name} on {' + '.join(results.models.names)}",
            "id": model_id,
            "developer": model_id.partition("/")[0],
            "inference_engine": {"name": "transformers", "version": _version(results, "transformers")},
            "additional_details": _texts(
                {
                    "kind": f"a federation of {len(results.clients)} personal models",
                    "method": results.method.name,
                    "reference": results.method.reference,
                    "options": results.method.options,
                    "backbones": results.models.per_client,
                    "revisions": results.models.revisions,
                    "trained_here": here,
                }
            ),
        },
        "evaluation_results": [result | common for result in [*found, *_by_task(results)]],
    }
    return record | ({} if results.finished is None else {"evaluation_timestamp": results.finished})


def write_every_eval_ever(record: Mapping[str, Any], folder: Path) -> Path:
    """Write the record to its place below `folder`, under a new name, and return its path."""
    benchmark, developer, model, _ = record["evaluation_id"].split("/")
    path = folder / "data" / benchmark / developer / model / f"{uuid.uuid4()}.json"
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def hub_entries(
    scores: Sequence[tuple[str, float]], dataset_id: str, notes: str, date: str | None
) -> list[dict[str, Any]]:
    """The entries of a model. scores: (task, fraction) pairs, which become percent. dataset_id: the repository of the
    dataset. date: when they were measured, ISO 8601. DrakeError for a dataset_id of another form."""
    check_hub_id(dataset_id, "--dataset-id")
    return [
        {"dataset": {"id": dataset_id, "task_id": task}, "value": round(100 * score, 2)}
        | ({} if date is None else {"date": date})
        | {"notes": notes}
        for task, score in scores
    ]


def write_hub(entries: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the entries as YAML."""
    from huggingface_hub.utils import yaml_dump  # here: reading results needs no hub

    with replacing(path) as temporary:
        temporary.write_text(yaml_dump(list(entries), sort_keys=False), encoding="utf-8")


def check_hub_id(name: str, option: str) -> None:
    """DrakeError unless the name has the form of a repository on the Hub."""
    if not _HUB_ID.fullmatch(name) or ".." in name:
        raise DrakeError(f"{option} is {name[:80]!r}; it must be of the form OWNER/NAME.")


def hub_dataset(results: Results) -> str | None:
    """The repository on the Hub that a run read, where the results name one."""
    path = (results.data.path or "").partition("@")[0].removeprefix("hub:")
    return path if _HUB_ID.fullmatch(path) and ".." not in path and not Path(path).exists() else None


def _check(results: Results, model_id: str, option: str) -> None:
    check_hub_id(model_id, option)
    if results.status != "complete" or not results.summary:
        raise DrakeError(f"the run is {results.status}; finish it by drake eval --resume.")


def _headline(results: Results, name: str) -> dict[str, Any]:
    title, meaning = _HEADLINES[name]
    return {
        "evaluation_result_id": f"drake.{name}",
        "evaluation_name": f"DRAKE {results.data.split}: {title}",
        "metric_config": _metric(
            f"drake.{name}",
            title,
            f"{meaning}. Choice questions count by accuracy, open-ended ones by token F1; official matching.",
        ),
        "score_details": _details(results, results.summary["official"][name], name),
    }


def _by_task(results: Results) -> list[dict[str, Any]]:
    """The score of every task on the models of the clients that own it, at the last point."""
    tasks = list(dict.fromkeys(task for client in results.clients for task in client.tasks))
    found = []
    for task in tasks:
        owners = [client.id for client in results.clients if task in client.tasks]
        seeds = []
        for run in results.runs:
            column = run.tasks.index(task)
            scores = [run.scores["official"][-1][client][column] for client in owners]
            seeds.append(None if None in scores else float(np.mean([s for s in scores if s is not None])))
        value = estimate(seeds)
        if value.mean is not None:
            found.append(
                {
                    "evaluation_result_id": f"drake.own.{task}",
                    "evaluation_name": f"DRAKE {results.data.split}: {task}",
                    "metric_config": _metric(
                        "drake.own",
                        "Score of the task's own clients",
                        f"{task}, answered by clients {', '.join(map(str, owners))} after the last round; accuracy of "
                        "choice questions or token F1 of open-ended ones, official matching.",
                    ),
                    "score_details": _details(results, value),
                }
            )
    return found


def _metric(name: str, title: str, description: str) -> dict[str, Any]:
    return {
        "evaluation_description": description,
        "metric_id": name,
        "metric_name": title,
        "metric_unit": "proportion",
        "lower_is_better": False,
        "score_type": "continuous",
        "min_score": 0,
        "max_score": 1,
    }


def _details(results: Results, value: Estimate, name: str | None = None) -> dict[str, Any]:
    details = {"seeds": [run.seed for run in results.runs], "evaluate_at": results.evaluate_at}
    if name is not None:
        details["by_seed"] = [getattr(run.summary["official"], name) for run in results.runs]
        details["strict"] = results.summary["strict"][name].mean
    found: dict[str, Any] = {"score": value.mean, "details": _texts(details)}
    if value.stderr is not None:
        error = {"value": value.stderr, "method": "sample standard deviation over seeds / sqrt(number of seeds)"}
        found["uncertainty"] = {"standard_error": error, "num_samples": value.n}
    return found


def _source(results: Results, dataset_id: str | None) -> dict[str, Any]:
    data = results.data
    if dataset_id is not None:
        about = {"source_type": "hf_dataset", "hf_repo": dataset_id, "hf_split": "test"}
    else:
        about = {"source_type": "other", "source_version": data.fingerprint}
    details = {"fingerprint": data.fingerprint, "source": data.source, "seed": data.seed}
    return {"dataset_name": data.name, **about, "additional_details": _texts(details)}


def _generation(results: Results) -> dict[str, Any]:
    numbers = results.config.get("numbers")
    tokens = numbers.get("max_new_tokens") if isinstance(numbers, dict) else None
    arguments = {"temperature": 0, **({"max_tokens": tokens} if isinstance(tokens, int) and tokens > 0 else {})}
    asked = {key: results.config[key] for key in ("eval_records", "eval_records_others") if key in results.config}
    return {
        "generation_args": arguments,
        "additional_details": _texts({"decoding": "greedy", "preset": results.preset, **asked}),
    }


def _version(results: Results, package: str) -> str:
    return results.environment.packages.get(package, "unknown")


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    """The same as the schema wants further details: every value a string."""
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip(".-").lower() or "drake"
