"""Config -> everything a run needs, checked before anything is computed. Nothing here trains or writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from drake import catalog
from drake.catalog.benchmarks import DEFAULT
from drake.config import Config, preset, required
from drake.data import schedules as stream
from drake.data.partitions import shared_clients, shared_schedule
from drake.engines.worker import Plan, Records, Worker
from drake.errors import DrakeError
from drake.federation import registry
from drake.federation.method import Architecture, Client, Federation, Method
from drake.models import backbones
from drake.models.compiling import check_compiler
from drake.runs.clients import attendance, check_participation, check_untrained, participation_of
from drake.runs.data import DATA_SEED, check_public, check_readable, open_data, opened_public, public_records
from drake.runs.device import DTYPES, resolve_device
from drake.runs.pooling import pooled
from drake.runs.provenance import versions
from drake.scoring.sampling import SAMPLE_SEED, sampled_rows

__all__ = ["DATA_SEED", "Setup", "WorkerFactory", "open_data", "public_records"]

Batches = list[list[tuple[str, int]]]
"""The batches of one client and round: [step][record], a record as (task, row)."""


class Setup:
    """What a Config stands for: data, backbones, clients, plan. Raises DrakeError for whatever is wrong, cheapest
    checks first.

    folder: the run folder, which may know the size of evaluation batches already. resident: the device of this
    process's backbones where other processes do the computing; default: the Config's.
    """

    def __init__(self, config: Config, folder: Path | None = None, resident: str | None = None) -> None:
        self.config, self.folder = required(config), folder
        execution = config.execution
        self.method_class = registry.find(config.method)
        if len(config.models) > 1 and not self.method_class.mixed:
            raise DrakeError(f"{config.method} needs one backbone for all clients, not {', '.join(config.models)}.")
        self.participation = participation_of(config, self.method_class.pooled)
        if not self.method_class.trains:
            check_untrained(config, self.participation)
        needs_public = self.method().wants_public(len(config.models))
        check_public(config, needs_public)
        elsewhere = resident is not None and execution.device != "auto"  # where the GPUs are, not here
        self.device = execution.device if elsewhere else resolve_device(execution.device)
        self.resident = resident or self.device
        self.compiled = execution.compile and self.resident == self.device  # else other processes do the training
        if self.compiled:
            check_compiler(self.resident)

        self.benchmark = open_data(config)
        self.public_rows, self.public_pool = opened_public(config, self.benchmark, needs_public)
        tasks_of_clients = shared_clients(self.benchmark.clients, config.data.clients)
        scenario = catalog.benchmark(config.data.benchmark).scenario
        self.assignment = catalog.assign(config.models, len(tasks_of_clients), scenario)
        self.clients = tuple(
            Client(number, backbone, tuple(tasks))
            for number, (backbone, tasks) in enumerate(zip(self.assignment.models, tasks_of_clients, strict=True))
        )
        self.inputs = dict(self.method().inputs(self.clients))
        longest = max(len(client.tasks) for client in self.clients)
        rounds = config.rounds if self.method_class.trains else 1  # in which nothing happens but the evaluation
        self.rounds_per_task = config.rounds_per_task if rounds is None else rounds / longest
        self.rounds = stream.num_rounds(longest, self.rounds_per_task)
        check_participation(self.participation, len(self.clients), self.rounds)
        self.tasks = tuple(dict.fromkeys(task for client in self.clients for task in client.tasks))
        self.unseen = self.benchmark.unseen if config.evaluation.unseen != "none" else ()
        self.backbones = {name: self.load_backbone(name) for name in dict.fromkeys(self.assignment.models)}
        check_readable(self.benchmark, (*self.tasks, *self.unseen), self.backbones.values())
        self.architectures = {
            name: Architecture(name, found.family, found.num_layers) for name, found in self.backbones.items()
        }
        self.evaluation_rounds = self._evaluation_rounds(longest)

    @cached_property
    def eval_tokens(self) -> dict[str, int]:
        """Backbone -> padded tokens of an evaluation batch; found once, see `batch_size.settle`."""
        from drake.runs.batch_size import settle  # which needs a Setup

        return settle(self, self.folder)

    def method(self) -> Method:
        """A fresh instance of the method with its options."""
        return self.method_class(self.config.training, self.config.method_options)

    def load_backbone(self, name: str) -> backbones.Backbone:
        """A bare backbone: no adapter of any method on it."""
        execution = self.config.execution
        features = execution.feature_cache
        return backbones.load(
            name,
            device=self.resident,
            dtype=DTYPES[execution.dtype],
            checkpointing=execution.gradient_checkpointing,
            compiled=self.compiled,
            feature_folder=None if features is None else Path(features),
            feature_bytes=int(execution.feature_cache_gb * 1e9),
            **self.config.of_backbones,
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
            training=self.config.training,
            backbone=backbone,
            public=self.public,
        )

    def plan(self, seed: int, method: Method) -> Plan:
        """What every client trains on in every round."""
        if not method.trains:
            return lambda client, round: []
        training = self.config.training
        tables = {task: self.benchmark.rows(task, "train") for task in self.tasks}
        arrivals = shared_schedule(
            self.config.data.split,
            [client.tasks for client in self.clients],
            {task: len(table) for task, table in tables.items()},
            self.rounds_per_task,
            seed,
            self.config.data.alpha,
        )
        size = training.micro_batch * training.accumulation
        steps = training.steps_by_round(method.relative_cost, self.rounds)
        drawn = [
            stream.memory_batches(rounds, steps[: len(rounds)], size, seed, client)
            for client, rounds in enumerate(arrivals)
        ]
        if method.pooled:
            drawn = self._pooled(drawn)

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

    def _pooled(self, drawn: Sequence[Sequence[Batches]]) -> list[list[Batches]]:
        """The batches [client][round] of all clients of a backbone for its first client, and none for the others."""
        found: list[list[Batches]] = []
        for client in self.clients:
            peers = [peer.id for peer in self.clients if peer.backbone == client.backbone]
            rounds = max(len(drawn[peer]) for peer in peers) if client.id == peers[0] else 0
            found.append([pooled([drawn[peer][k] for peer in peers if k < len(drawn[peer])]) for k in range(rounds)])
        return found

    def begun(self, rounds_done: int) -> list[str]:
        """The tasks whose turn has come after so many rounds; all of them unless they arrive one after another."""
        if self.config.data.split != "dynamic":
            return list(self.tasks)
        reached = rounds_done / self.rounds_per_task
        begun = (task for client in self.clients for number, task in enumerate(client.tasks) if number < reached)
        return list(dict.fromkeys(begun))

    def unseen_at(self, round: int) -> tuple[str, ...]:
        """The tasks of no client that are asked at the evaluation point after so many rounds, and before training."""
        asked = self.config.evaluation.unseen == "all" or round in (0, self.rounds)
        return self.unseen if asked else ()

    def learning(self, client: Client, round: int) -> str | None:
        """The task that arrives at the client when a round (counted from 0) begins; None where all arrive mixed."""
        if self.config.data.split != "dynamic":
            return None
        return client.tasks[min(int(round / self.rounds_per_task), len(client.tasks) - 1)]

    def test_rows(self, task: str, others: bool = False) -> list[tuple[str, int]]:
        """The places (task, row) of the test records that a task's own client is scored on, or those for `others`,
        which are a part of them."""
        asked = self.config.evaluation
        count = asked.records_others if others and asked.records_others is not None else asked.records
        if task in self.unseen:
            count = self.unseen_records
        answers = self.benchmark.rows(task, "test")["answer"]
        return [(task, row) for row in sampled_rows(answers, count, asked.sample, SAMPLE_SEED, task)]

    @property
    def unseen_records(self) -> int:
        """Test records of each task of no client that are asked; 0 for all."""
        asked = self.config.evaluation
        return next(n for n in (asked.records_unseen, asked.records_others, asked.records) if n is not None)

    def test_record(self, task: str, row: int) -> Mapping[str, Any]:
        """The test record in one place."""
        return self.benchmark.rows(task, "test")[row]

    def public(self, count: int, purpose: str) -> list[Mapping[str, Any]]:
        """`public_records` of the run's data."""
        return public_records(self.public_rows, count, purpose)

    def identity(self) -> dict[str, Any]:
        """Everything that decides the result, as plain values: the settings, and what they were found to stand for. It
        is what a run folder is told apart by, and `config` of results.json."""
        config, data = self.config, self.config.data
        return self._added() | {
            "method": config.method,
            "options": dict(config.method_options),
            "preset": config.preset,
            "numbers": self._numbers(),
            "eval_records": config.evaluation.records,
            "eval_records_others": config.evaluation.records_others,
            "eval_sample": config.evaluation.sample,
            "evaluate_at": config.evaluation.at,
            "also_aggregated": config.evaluation.also_aggregated,
            "assignment": [client.backbone for client in self.clients],
            "revisions": {name: found.revision for name, found in self.backbones.items()},
            **config.unusual_of_backbones,
            "data": {
                "fingerprint": self.benchmark.fingerprint,
                "seed": DATA_SEED,
                "train": data.train,
                "test": data.test,
                "public_per_world": data.public,
            },
            "split": data.split,
            "alpha": data.alpha,
            "attendance": attendance(self.participation),
            "seeds": list(config.seeds),
            "device": self.device,
            "dtype": config.execution.dtype,
            "eval_tokens": self.eval_tokens,
            "compile": config.execution.compile,
            "evaluation_rounds": list(self.evaluation_rounds),
            "versions": versions(),
        }

    def _added(self) -> dict[str, Any]:
        """The part of the identity that only runs with these settings have, so that others are what they were."""
        config, found = self.config, dict(self.inputs)
        if self.unseen:
            found |= {"eval_unseen": config.evaluation.unseen, "eval_records_unseen": self.unseen_records}
        if config.data.clients is not None:
            found["clients"] = config.data.clients
        if config.data.benchmark != DEFAULT:
            metrics = {self.benchmark.tasks[task].metric for task in self.tasks}
            found |= {"benchmark": config.data.benchmark, "metrics": sorted(metrics)}
        if self.public_pool is not None:
            found["public"] = {"most": config.data.public_most, "digest": self.public_pool.digest}
        return found

    def _numbers(self) -> dict[str, Any]:
        """The settings that put a run on a track of the leaderboard, in the form of results of schema 1: the dtype and
        the batch size are the preset's, and whole numbers stand for rounds per task and alpha where they are whole, so
        that 5 and 5.0 are one track. A fresh optimizer in every round is left out: earlier runs had no other."""
        config, standard = self.config, preset(self.config.preset)
        training = asdict(config.training)
        if training["optimizer_state"] == "fresh":
            del training["optimizer_state"]
        return {
            "rounds_per_task": _whole(self.rounds_per_task),
            "train": config.data.train,
            "test": config.data.test,
            "public": config.data.public,
            "eval_records": config.evaluation.records,
            "max_new_tokens": config.evaluation.max_new_tokens,
            "eval_tokens": standard.evaluation.tokens,
            "dtype": standard.execution.dtype,
            "models": list(config.models),
            "training": training | {"alpha": _whole(training["alpha"])},
            # So that a track never holds both what was trained here and what was not.
            **({} if self.method_class.trains else {"trained": False}),
        }

    def _evaluation_rounds(self, phases: int) -> tuple[int, ...]:
        """The ends of the task phases, or every so many rounds; always the last round."""
        every = self.config.evaluation.every
        if every is None:
            found = {stream.num_rounds(phase, self.rounds_per_task) for phase in range(1, phases + 1)}
        else:
            found = set(range(every, self.rounds + 1, every))
        return tuple(sorted(found | {self.rounds}))


def _whole(value: float) -> float:
    return int(value) if float(value).is_integer() else value


class WorkerFactory:
    """seed -> Worker, in another process: travels as the Config; what it loads there stays for the next seed."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._setup: Setup | None = None

    def __call__(self, seed: int) -> Worker:
        if self._setup is None:
            self._setup = Setup(self._config)
        return self._setup.worker(seed)
