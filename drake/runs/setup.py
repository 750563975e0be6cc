"""Settings -> everything a run needs, checked before anything is computed. Nothing here trains or writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from drake import catalog
from drake.common.seeds import python_random
from drake.config import Preset
from drake.data import schedules as stream
from drake.data.benchmark import Benchmark, load
from drake.data.building import cached_mini
from drake.engines.worker import Plan, Records, Worker
from drake.errors import DrakeError, UnknownName
from drake.federation import registry
from drake.federation.method import Architecture, Client, Federation, Method
from drake.models import backbones
from drake.models.compiling import check_compiler
from drake.runs.provenance import versions
from drake.runs.request import DTYPES, Settings, check_numbers, resolve_device

DATA_SEED = 0
"""The seed the embedded suite is built with: a run's own seeds vary the stream and the draws, not the questions."""


LEFT_OUT = ("name", "method_options", "gradient_checkpointing")
"""What of a preset decides no result, or stands elsewhere in the config."""


class Setup:
    """The settings resolved. Raises DrakeError for whatever is wrong with them, cheapest checks first.

    resident: the device of this process's backbones where other processes do the computing; default: the settings'.
    """

    def __init__(self, settings: Settings, resident: str | None = None) -> None:
        check_numbers(settings)
        self.settings, self.preset = settings, settings.preset
        self.method_class = registry.find(settings.method)
        of_preset = self.preset.method_options.get(settings.method, {})
        preset_options = {key: str(value) for key, value in of_preset.items()}
        self._options = preset_options | dict(settings.options)
        self.options = asdict(self.method().options)
        self.models = settings.models or self.preset.models
        catalog.assign(self.models)  # a wrong name must not cost the loading below
        if len(self.models) > 1 and not self.method_class.mixed:
            raise DrakeError(f"{settings.method} needs one backbone for all clients, not {', '.join(self.models)}.")
        elsewhere = resident is not None and settings.device != "auto"  # where the GPUs are, not here
        self.device = settings.device if elsewhere else resolve_device(settings.device)
        self.resident = resident or self.device
        self.dtype = settings.dtype or self.preset.dtype
        self.compiled = settings.compile and self.resident == self.device  # else other processes do the training
        if self.compiled:
            check_compiler(self.resident)

        self.benchmark = open_data(settings.data, self.preset, settings.split)
        if self.method().needs_public and not len(self.benchmark.public):
            raise DrakeError(
                f"{settings.method} learns from public records, and the dataset {self.benchmark.name} has none; "
                "choose a dataset that has a public split."
            )
        self.assignment = catalog.assign(self.models, len(self.benchmark.clients))
        self.clients = tuple(
            Client(number, backbone, tuple(tasks))
            for number, (backbone, tasks) in enumerate(zip(self.assignment.models, self.benchmark.clients, strict=True))
        )
        self.tasks = tuple(task for client in self.clients for task in client.tasks)
        self.backbones = {name: self.load_backbone(name) for name in dict.fromkeys(self.assignment.models)}
        asked = settings.eval_tokens
        self.eval_tokens = dict.fromkeys(
            self.backbones, self.preset.eval_tokens if asked in (None, "auto") else asked
        )  # "auto" is settled when the run begins (`batch_size.settle`)
        self.architectures = {
            name: Architecture(name, found.family, found.num_layers) for name, found in self.backbones.items()
        }
        longest = max(len(client.tasks) for client in self.clients)
        if settings.rounds is not None:
            self.preset = self.preset.with_(rounds_per_task=settings.rounds / longest)
        self.rounds = stream.num_rounds(longest, self.preset.rounds_per_task)
        self.evaluation_rounds = self._evaluation_rounds(longest)

    def method(self) -> Method:
        """A fresh instance of the method with its options."""
        return self.method_class(self.preset.training, self._options)

    def load_backbone(self, name: str) -> backbones.Backbone:
        """A bare backbone: no adapter of any method on it."""
        dtype, checkpointing = DTYPES[self.dtype], self.preset.gradient_checkpointing
        features = self.settings.feature_cache
        return backbones.load(
            name,
            device=self.resident,
            dtype=dtype,
            checkpointing=checkpointing,
            compiled=self.compiled,
            feature_folder=None if features is None else Path(features),
            feature_bytes=int(self.settings.feature_cache_gb * 1e9),
        )

    def worker(self, seed: int) -> Worker:
        """One that can do every task of a run with this seed."""
        method = self.method()
        worker = Worker(method, self.backbones.__getitem__, self.plan(seed, method), self.test_record)
        worker.join(self.federation(seed, worker.backbone))
        return worker

    def federation(self, seed: int, backbone: Callable[[str], backbones.Backbone]) -> Federation:
        """What the participants of one seed may know."""
        return Federation(
            clients=self.clients,
            architectures=self.architectures,
            seed=seed,
            rounds=self.rounds,
            training=self.preset.training,
            backbone=backbone,
            public=self.public,
        )

    def plan(self, seed: int, method: Method) -> Plan:
        """What every client trains on in every round."""
        training = self.preset.training
        tables = {task: self.benchmark.records(task, "train") for task in self.tasks}
        arrivals = stream.federation_schedule(
            self.settings.split,
            [client.tasks for client in self.clients],
            {task: len(table) for task, table in tables.items()},
            self.preset.rounds_per_task,
            seed,
            self.settings.alpha,
        )
        size = training.micro_batch * training.accumulation
        steps = training.steps_by_round(method.relative_cost, self.rounds)
        drawn = [
            stream.memory_batches(rounds, steps[: len(rounds)], size, seed, client)
            for client, rounds in enumerate(arrivals)
        ]

        def records(client: int, round: int) -> list[list[Records]]:
            rounds = drawn[client]
            return [
                [
                    [tables[task][row] for task, row in batch[start : start + training.micro_batch]]
                    for start in range(0, len(batch), training.micro_batch)
                ]
                for batch in (rounds[round] if round < len(rounds) else [])
            ]

        return records

    def begun(self, rounds_done: int) -> list[str]:
        """The tasks whose turn has come after so many rounds; all of them unless they arrive one after another."""
        if self.settings.split != "dynamic":
            return list(self.tasks)
        reached = rounds_done / self.preset.rounds_per_task
        return [task for client in self.clients for number, task in enumerate(client.tasks) if number < reached]

    def learning(self, client: Client, round: int) -> str | None:
        """The task that arrives at the client when a round (counted from 0) begins; None where all arrive mixed."""
        if self.settings.split != "dynamic":
            return None
        return client.tasks[min(int(round / self.preset.rounds_per_task), len(client.tasks) - 1)]

    def test_rows(self, task: str) -> list[tuple[str, int]]:
        """The places (task, row) of the test records a task is scored on: the first `eval_records`, or all."""
        count = len(self.benchmark.records(task, "test"))
        return [(task, row) for row in range(min(self.preset.eval_records or count, count))]

    def test_record(self, task: str, row: int) -> Mapping[str, Any]:
        """The test record in one place."""
        return self.benchmark.records(task, "test")[row]

    def public(self, count: int, purpose: str) -> list[Mapping[str, Any]]:
        """`public_records` of the run's data."""
        return public_records(self.benchmark, count, purpose)

    def config(self) -> dict[str, Any]:
        """Everything that decides the result, as plain values."""
        numbers = {key: value for key, value in self.preset.as_dict().items() if key not in LEFT_OUT}
        return {
            "method": self.settings.method,
            "options": self.options,
            "preset": self.preset.name,
            "numbers": numbers | {"models": list(self.models)},
            "eval_records": self.preset.eval_records,
            "assignment": [client.backbone for client in self.clients],
            "revisions": {name: found.revision for name, found in self.backbones.items()},
            "data": {
                "fingerprint": self.benchmark.fingerprint,
                "seed": DATA_SEED,
                "train": self.preset.train,
                "test": self.preset.test,
                "public_per_world": self.preset.public,
            },
            "split": self.settings.split,
            "alpha": self.settings.alpha,
            "attendance": asdict(self.settings.attendance),
            "seeds": list(self.settings.seeds),
            "device": self.device,
            "dtype": self.dtype,
            "eval_tokens": self.eval_tokens,
            "compile": self.settings.compile,
            "evaluation_rounds": list(self.evaluation_rounds),
            "versions": versions(),
        }

    def _evaluation_rounds(self, phases: int) -> tuple[int, ...]:
        """The ends of the task phases, or every so many rounds; always the last round."""
        every = self.settings.eval_every
        if every is None:
            found = {stream.num_rounds(phase, self.preset.rounds_per_task) for phase in range(1, phases + 1)}
        else:
            found = set(range(every, self.rounds + 1, every))
        return tuple(sorted(found | {self.rounds}))


class WorkerFactory:
    """seed -> Worker, in another process: travels as the settings; what it loads there stays for the next seed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._setup: Setup | None = None

    def __call__(self, seed: int) -> Worker:
        if self._setup is None:
            self._setup = Setup(self._settings)
        return self._setup.worker(seed)


def open_data(data: str | None, preset: Preset, split: str = "dynamic") -> Benchmark:
    """The dataset at `data`, or the embedded mini suite in the sizes of the preset, built once and cached."""
    if split not in stream.SPLITS:
        raise UnknownName("split", split, list(stream.SPLITS))
    if data is not None:
        return load(data)
    return load(cached_mini(DATA_SEED, train=preset.train, test=preset.test, public_per_world=preset.public))


def public_records(benchmark: Benchmark, count: int, purpose: str) -> list[Mapping[str, Any]]:
    """`count` public records drawn for `purpose`, the same for the same arguments; all of them if fewer."""
    pool = benchmark.public
    rows = python_random(DATA_SEED, "public", purpose).sample(range(len(pool)), min(count, len(pool)))
    return [pool[row] for row in rows]
