"""README.md, the dataset card of a built dataset, from its manifest. `drake.data.writer` calls this."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from huggingface_hub import DatasetCardData

from drake.catalog import tasks as catalog_tasks
from drake.data.croissant import FIELDS
from drake.data.licences import commercial_use_of
from drake.data.manifest import DATA, PUBLIC, SCHEDULES, Manifest

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def configs(manifest: Manifest) -> list[dict[str, Any]]:
    """The configs of `datasets.load_dataset`: "default" (all tasks), one per task, "public", one per schedule."""
    splits = [split for split in ("train", "test") if any(getattr(t, split) for t in manifest.tasks.values())]
    key = _content_key(manifest)
    found = [("default", [(split, f"{DATA}/*/{split}-*.parquet") for split in splits])]
    if manifest.public:
        public = (PUBLIC, f"{DATA}/{PUBLIC}/{PUBLIC}-*.parquet")
        found[0][1].append(public)
        found.append((PUBLIC, [public]))
    for task, entry in manifest.tasks.items():
        files = [(s, f"{DATA}/{task}/{s}-*.parquet") for s in ("train", "test") if getattr(entry, s)]
        found.append((task, files))
    for name in manifest.schedules:
        found.append((name, [("train", f"{SCHEDULES}/{name}.parquet")]))
    return [
        {
            "config_name": name,
            "data_files": [{"split": split, "path": path} for split, path in files],
            # `datasets` names its cache after the folder's last part, the config and these fields. Without a key of
            # their own, two builds in folders of the same name would share one cache.
            "description": key,
        }
        for name, files in found
    ]


def configs_yaml(manifest: Manifest) -> str:
    """The configs as they stand in the header of the card."""
    return DatasetCardData(configs=configs(manifest)).to_yaml()


def _content_key(manifest: Manifest) -> str:
    """SHA-256, in hexadecimal, over the names and hashes of all files. The fingerprint leaves out the schedules, which
    differ between builds of the same records with other seeds."""
    files = sorted((name, entry.sha256) for name, entry in manifest.files.items())
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()


def readme(manifest: Manifest, licence: str, about: str = "", licences: Mapping[str, str] | None = None) -> str:
    """The dataset card: a YAML header with the configs, then the description for readers.

    about: origin of the records, in sentences. licences: licence by source data set, where they differ.
    """
    records = sum(task.train + task.test for task in manifest.tasks.values()) + manifest.public
    header = DatasetCardData(
        pretty_name=manifest.name,
        language="en",
        license=licence,
        task_categories=["visual-question-answering"],
        tags=["federated-learning", "personalization", "continual-learning", "multi-image"],
        size_categories=next((name for most, name in _SIZES if records < most), "n>1M"),
        configs=configs(manifest),
    ).to_yaml()
    known = catalog_tasks()
    clients = {task: number for number, tasks in enumerate(manifest.clients) for task in tasks}
    table = "\n".join(
        f"| {task} | {known[task].description if task in known else ''} | {entry.metric} | {entry.train} "
        f"| {entry.test} | {clients.get(task, 'unseen')} |"
        for task, entry in manifest.tasks.items()
    )
    schedules = "\n".join(
        f"- `{name}`: {entry.rounds} rounds, {entry.rounds_per_task:g} per task"
        for name, entry in manifest.schedules.items()
    )
    task = next(iter(manifest.tasks))
    return f"""---
{header}
---

# {manifest.name}

A dataset of the DRAKE benchmark for personalised federated learning of vision-language models, built by
`drake build`. {about}
{_licences(licences or {})}

{len(manifest.tasks)} tasks, {len(manifest.clients)} clients, {records} records (of which {manifest.public} public).
Fingerprint: `{manifest.fingerprint}`.

## Use

```python
import datasets, drake

datasets.load_dataset("path/to/this/folder", "{task}")            # one task: train and test
datasets.load_dataset("path/to/this/folder")                      # all of them
datasets.load_dataset("path/to/this/folder", "{next(iter(manifest.schedules))}", split="train")   # a schedule

benchmark = drake.load("path/to/this/folder")
benchmark.client(0).round(3)                                      # what client 0 meets in its fourth round
```

## Fields

{chr(10).join(f"- `{name}`: {about}" for name, (_, about) in FIELDS.items())}

Pictures have the bytes of the source, so a photograph may be stored on its side with an EXIF orientation. DRAKE turns
it upright when it decodes the picture, as `datasets` does, puts transparent pictures on white and keeps the eight high
bits of 16-bit greyscale.

Schedules hold rows (client, round, position, task, id) that point into the train splits:

{schedules}

## Tasks

How tasks were given to clients: {manifest.dealt}.

| task | asks for | metric | train | test | client |
|---|---|---|---|---|---|
{table}
{_gold_fails(manifest)}"""


def _licences(licences: Mapping[str, str]) -> str:
    if not licences:
        return ""
    rows = [f"| {source} | {licence} | {commercial_use_of(source, licence)} |" for source, licence in licences.items()]
    return "\n".join(["", "| source | licence | commercial use |", "|---|---|---|", *rows, ""])


def _gold_fails(manifest: Manifest) -> str:
    """A paragraph about gold answers that a protocol marks wrong; empty if there are none."""
    lines = [
        f"- {task}: {count} by protocol `{protocol}`"
        for task, entry in manifest.tasks.items()
        for protocol, count in entry.gold_fails.items()
    ]
    if not lines:
        return ""
    head = "Gold answers that a protocol marks wrong even when a model answers with exactly their text:"
    return "\n".join(["", head, "", *lines, ""])
