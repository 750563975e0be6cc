"""What a results file claims, held against what follows from its configuration, its dataset and the registered method.

Scores are checked by `drake.results.verify`. Here it is everything around them: rounds, points, begun tasks, seeds and
losses follow from configuration and schedule; the method's numbers, the backbones and the facts of the dataset must be
those of this version of drake. Every contradiction is a sentence; nothing is raised for one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from drake import catalog
from drake.config import Training, preset
from drake.config.options import options_of
from drake.data.schedules import SPLITS, num_rounds
from drake.errors import DrakeError
from drake.federation import registry
from drake.federation.federation import Client, Federation
from drake.federation.participation import Participation
from drake.models.checkpoint_files import hash_of_weights
from drake.models.checkpoints import WEIGHTS_FOLDER, embedded
from drake.results import Results, SeedRun

if TYPE_CHECKING:
    from drake.data.benchmark import Benchmark
    from drake.federation.method import Method

ALWAYS = (
    "method", "options", "preset", "numbers", "eval_records", "eval_records_others", "eval_sample", "evaluate_at",
    "also_aggregated", "assignment", "revisions", "data", "split", "alpha", "attendance", "seeds", "device", "dtype",
    "eval_tokens", "compile", "evaluation_rounds", "versions",
)  # fmt: skip
"""Keys of `Results.config` that every run has."""
SOMETIMES = ("prompts", "pictures", "eval_unseen", "eval_records_unseen", "clients", "public")
"""Keys that it has where the setting is used."""
NUMBERS = (
    "rounds_per_task", "train", "test", "public", "eval_records", "max_new_tokens", "eval_tokens", "dtype", "models",
    "training",
)  # fmt: skip
MOST_SEED = 1 << 32
MOST_ROUNDS = 100_000
SLACK = timedelta(minutes=2)
"""Clocks of machines differ."""


@dataclass(frozen=True)
class Claims:
    """The results of a complete run and the dataset that they name."""

    results: Results
    benchmark: Benchmark

    def contradictions(self) -> Iterator[str]:
        """One sentence for each."""
        config, results = self.results.config, self.results
        if missing := sorted(set(ALWAYS) - config.keys()):
            yield f"config lacks {missing[0]!r}, which every run records"
            return
        if extra := sorted(config.keys() - {*ALWAYS, *SOMETIMES}):
            yield f"config has the key {extra[0]!r}, which no run records"
        if wrong := list(self._types()):
            yield from wrong
            return
        yield from _unequal(
            ("config.method", config["method"], "method.name", results.method.name),
            ("config.options", config["options"], "method.options", results.method.options),
            ("config.preset", config["preset"], "preset", results.preset),
            ("config.evaluate_at", config["evaluate_at"], "evaluate_at", results.evaluate_at),
            ("config.assignment", config["assignment"], "models.per_client", results.models.per_client),
            ("config.revisions", config["revisions"], "models.revisions", results.models.revisions),
            ("config.split", config["split"], "data.split", results.data.split),
            ("config.seeds", config["seeds"], "the seeds of runs", [run.seed for run in results.runs]),
            ("config.device", config["device"], "environment.device", results.environment.device),
            ("config.dtype", config["dtype"], "environment.dtype", results.environment.dtype),
            ("config.versions", config["versions"], "environment.packages", results.environment.packages),
            ("data.name", results.data.name, "the dataset's", self.benchmark.name),
            ("data.source", results.data.source, "the dataset's", self.benchmark.source),
            ("data.seed", results.data.seed, "the dataset's", self.benchmark.seed),
        )
        try:
            yield from self._method()
            yield from self._numbers()
            yield from self._models()
            yield from self._schedule()
        except DrakeError as error:  # a name or a number that nothing can be derived from
            yield str(error).rstrip(".")
        yield from self._times()

    def _types(self) -> Iterator[str]:
        """The shapes that the rest relies on."""
        config = self.results.config
        for key in ("options", "numbers", "revisions", "data", "attendance", "eval_tokens", "versions"):
            if not isinstance(config[key], dict):
                yield f"config.{key} is no object"
        for key in ("assignment", "seeds", "evaluation_rounds"):
            if not isinstance(config[key], list):
                yield f"config.{key} is no list"
        for key in ("also_aggregated", "compile"):
            if not isinstance(config[key], bool):
                yield f"config.{key} is neither true nor false"

    @cached_property
    def method(self) -> type[Method] | None:
        """The class of a registered method; None for a "module:Class", whose code is not imported."""
        name = self.results.method.name
        return None if ":" in name else registry.find(name)

    @cached_property
    def training(self) -> Training:
        """The numbers of local training that the results record; DrakeError where they are none."""
        recorded = _mapping(_mapping(self.results.config["numbers"]).get("training"))
        kinds = {one.name: str(one.type) for one in fields(Training)}
        if missing := sorted(kinds.keys() - recorded.keys() - {"optimizer_state"}):
            raise DrakeError(f"config.numbers.training lacks {missing[0]!r}.")
        if extra := sorted(recorded.keys() - kinds.keys()):
            raise DrakeError(f"config.numbers.training has {extra[0]!r}, which is no number of training.")
        for name, value in recorded.items():
            if name != "optimizer_state" and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise DrakeError(f"config.numbers.training.{name} is {value!r}, which is no number.")
        state = recorded.get("optimizer_state", "fresh")
        if state not in ("fresh", "kept"):
            raise DrakeError(f"config.numbers.training.optimizer_state is {state!r}; it must be fresh or kept.")
        numbers: dict[str, Any] = {**recorded, "optimizer_state": state}
        return Training(**numbers)

    def _method(self) -> Iterator[str]:
        found, training = self.results.method, self.training
        registry.check(found.name)
        if self.method is not None:
            due = asdict(options_of(self.method, found.options))
            yield from _unequal(
                ("method.options", found.options, "all options of the method", due),
                ("method.reference", found.reference, "the method's", self.method.reference),
                ("method.relative_cost", found.relative_cost, "the method's", self.method.relative_cost),
            )
        if found.relative_cost > 0:
            steps, batch = training.local_steps(found.relative_cost), training.micro_batch * training.accumulation
            yield from _unequal(
                ("method.local_steps", found.local_steps, "steps over relative_cost", steps),
                ("method.batch", found.batch, "micro_batch x accumulation", batch),
            )
        else:
            yield f"method.relative_cost is {found.relative_cost}, which is no cost"

    def _numbers(self) -> Iterator[str]:
        config, numbers = self.results.config, _mapping(self.results.config["numbers"])
        if set(numbers) != set(NUMBERS):
            odd = sorted(set(numbers) ^ set(NUMBERS))[0]
            yield f"config.numbers {'has' if odd in numbers else 'lacks'} {odd!r}, unlike every run"
            return
        data, standard = _mapping(config["data"]), preset(self.results.preset)
        yield from _unequal(
            ("config.numbers.models", numbers["models"], "models.names", sorted_as(self.results, numbers["models"])),
            ("config.numbers.eval_records", numbers["eval_records"], "config.eval_records", config["eval_records"]),
            ("config.numbers.train", numbers["train"], "config.data.train", data.get("train")),
            ("config.numbers.test", numbers["test"], "config.data.test", data.get("test")),
            ("config.numbers.public", numbers["public"], "config.data.public_per_world", data.get("public_per_world")),
            ("config.data.seed", data.get("seed"), "the seed of all runs' data", 0),
            ("config.numbers.eval_tokens", numbers["eval_tokens"], "the preset's", standard.evaluation.tokens),
            ("config.numbers.dtype", numbers["dtype"], "the preset's", standard.execution.dtype),
            ("the models of config.eval_tokens", sorted(_mapping(config["eval_tokens"])), "those of the run",
             sorted(self.results.models.names)),
        )  # fmt: skip

    def unusual(self) -> Iterator[str]:
        """Settings of the track that are not those of the preset whose name the results carry."""
        numbers = _mapping(self.results.config.get("numbers"))
        standard = preset(self.results.preset)
        due = asdict(standard.training) | {"max_new_tokens": standard.evaluation.max_new_tokens}
        found = _mapping(numbers.get("training")) | {"max_new_tokens": numbers.get("max_new_tokens")}
        changed = [name for name, value in found.items() if name in due and value != due[name]]
        if changed:
            yield (
                f"the run is called preset {self.results.preset}, but {changed[0]} is {found[changed[0]]!r} where the "
                f"preset has {due[changed[0]]!r}" + (f" ({len(changed)} numbers differ)" if changed[1:] else "")
            )

    def _models(self) -> Iterator[str]:
        models = self.results.models
        if any("/" in name for name in models.names) or set(models.names) <= catalog.models().keys():
            names = [name for name in models.names if name in catalog.models()]
            if names == models.names:
                due = catalog.assign(models.names, len(self.results.clients))
                yield from _unequal(
                    ("models.per_client", models.per_client, "the assignment", list(due.models)),
                    ("models.assignment", models.assignment, "its name", due.name),
                )
        if odd := sorted(set(models.revisions) ^ set(models.names)):
            yield f"models.revisions and models.names disagree about {odd[0]!r}"
        for name in sorted(set(models.names) & set(embedded())):
            if models.revisions.get(name) != hash_of_weights(WEIGHTS_FOLDER / name):
                yield f"models.revisions has another revision of {name} than the weights that come with drake"

    def _schedule(self) -> Iterator[str]:
        config, runs = self.results.config, self.results.runs
        if self.results.data.split not in SPLITS:
            yield f"data.split is {self.results.data.split!r}, which is no split"
        per_task = _mapping(config["numbers"]).get("rounds_per_task")
        if isinstance(per_task, bool) or not isinstance(per_task, int | float):
            raise DrakeError(f"config.numbers.rounds_per_task is {per_task!r}, which is no number")
        longest = max(len(client.tasks) for client in self.results.clients)
        rounds = num_rounds(longest, per_task)
        if rounds > MOST_ROUNDS:
            raise DrakeError(f"config.numbers.rounds_per_task makes {rounds:,} rounds, more than {MOST_ROUNDS:,}")
        points = config["evaluation_rounds"]
        if points not in _possible_points(longest, per_task, rounds, cast("list[Any]", points)):
            yield (
                f"config.evaluation_rounds is {points}, but a run of {rounds} rounds is evaluated at the ends of the "
                "tasks, or every so many rounds and at the last"
            )
        owned = list(dict.fromkeys(task for client in self.results.clients for task in client.tasks))
        unseen = [*self.benchmark.unseen] if config.get("eval_unseen", "none") != "none" else []
        for run in runs:
            who = f"of seed {run.seed}"
            yield from _unequal(
                (f"rounds {who}", run.rounds, "config.evaluation_rounds", points),
                (f"tasks {who}", run.tasks, "the tasks of the dataset", owned + unseen),
                (f"begun {who}", run.begun, "the schedule", [self._begun(done, per_task) for done in run.rounds]),
            )
            yield from self._losses(run, rounds)
            yield from self._run(run)
        if any(not 0 <= run.seed < MOST_SEED for run in runs):
            yield f"a seed is below 0 or above {MOST_SEED:,}"
        if len({run.aggregated is None for run in runs}) > 1 or (runs[0].aggregated is None) == (
            config["also_aggregated"] is True
        ):
            yield "config.also_aggregated and the scores after the aggregation disagree"

    def _begun(self, rounds_done: int, per_task: float) -> list[str]:
        """The tasks whose turn has come after so many rounds, as `Setup.begun` has it."""
        dynamic, reached = self.results.data.split == "dynamic", rounds_done / per_task
        begun = (
            task
            for client in self.results.clients
            for number, task in enumerate(client.tasks)
            if number < reached or not dynamic
        )
        return list(dict.fromkeys(begun))

    def _losses(self, run: SeedRun, rounds: int) -> Iterator[str]:
        if len(run.train_loss) != rounds:
            yield f"train_loss of seed {run.seed} has {len(run.train_loss)} rounds, the schedule {rounds}"
            return
        longest = max(len(client.tasks) for client in self.results.clients)
        trains = {client.id for client in self.results.clients if len(client.tasks) == longest}
        if self.method is not None and self.method.pooled:
            trains = {self.results.models.per_client.index(name) for name in self.results.models.names}
        for number, losses in enumerate(run.train_loss):
            present = self.present(run.seed, number)
            for client, loss in enumerate(losses):
                where = f"train_loss of seed {run.seed}, round {number + 1}, client {client}"
                if loss is not None and loss < 0:
                    yield f"{where} is {loss}, below zero"
                if present is not None and loss is not None and client not in present:
                    yield f"{where} is {loss}, but the client took no part in that round"
                if present is not None and loss is None and client in present & trains:
                    yield f"{where} is missing, but the client took part in that round"
                if self.method is not None and self.method.pooled and loss is not None and client not in trains:
                    yield f"{where} is {loss}, but the first client of its backbone trains for it"

    @cached_property
    def participation(self) -> Participation:
        """Who takes part, as the results record it; DrakeError where it is no participation."""
        found = dict(_mapping(self.results.config["attendance"]))
        late = _mapping(found.pop("late", {}))
        absent = found.pop("absent", [])
        try:
            starts = tuple((int(client), int(start) - 1) for client, start in late.items())
            return Participation(**found, absent=tuple(map(int, absent)), late=starts)
        except (TypeError, ValueError) as error:
            raise DrakeError(f"config.attendance is no participation ({error}).") from error

    def present(self, seed: int, round: int) -> frozenset[int] | None:
        """The clients of a round from 0; None where that depends on the speed of backbones (a deadline)."""
        if self.participation.deadline is not None:
            return None
        clients = tuple(Client(one.id, one.model, tuple(one.tasks)) for one in self.results.clients)
        return self.participation.present(Federation(clients, {}, seed, 1, self.training, _nothing, _nothing), round)

    def _run(self, run: SeedRun) -> Iterator[str]:
        who, clients = f"of seed {run.seed}", len(self.results.clients)
        if run.zero_shot is None or any(score is None for line in run.zero_shot["official"] for score in line):
            yield f"zero_shot {who} lacks scores, which every run has"
        if run.relevance is not None:
            if len(run.relevance) != len(run.train_loss):
                yield f"relevance {who} has {len(run.relevance)} rounds, the run {len(run.train_loss)}"
            values = [value for matrix in run.relevance if matrix for line in matrix for value in line]
            if any(
                m is not None and (len(m) != clients or {len(line) for line in m} != {clients}) for m in run.relevance
            ):
                yield f"relevance {who} is not of {clients} x {clients} clients"
            if any(value is not None and abs(value) > 1.001 for value in values):
                yield f"relevance {who} holds a cosine above 1"
        if not run.seconds_train > 0 or not run.seconds_eval > 0:
            yield f"seconds {who} are 0, which no run takes"
        if run.seconds_aggregation is not None and run.seconds_aggregation > run.seconds_train:
            yield f"seconds_aggregation {who} is more than seconds_train, which it is a part of"
        if run.flops is not None and not run.flops > 0:
            yield f"flops {who} are 0, which no training takes"

    def _times(self) -> Iterator[str]:
        results = self.results
        times: list[datetime] = []
        for name, text in (("started", results.started), ("finished", results.finished)):
            try:
                found = datetime.fromisoformat(text or "")
                times.append(found if found.tzinfo else found.replace(tzinfo=None).astimezone(UTC))
            except ValueError:
                yield f"{name} is {text!r}, which is no ISO 8601 time"
        if len(times) < 2:
            return
        started, finished = times
        if finished < started:
            yield f"the run finished ({results.finished}) before it started ({results.started})"
        if finished > datetime.now(UTC) + timedelta(days=1):
            yield f"the run finished in the future ({results.finished})"
        spent = sum(run.seconds_train + run.seconds_eval for run in results.runs)
        if spent > 1.05 * results.seconds + SLACK.total_seconds():
            yield f"the seeds took {spent:.0f} seconds together, the whole run {results.seconds:.0f}"
        if results.seconds > 1.05 * (finished - started + SLACK).total_seconds():
            yield f"the run took {results.seconds:.0f} seconds, but finished {finished - started} after it started"


def sorted_as(results: Results, order: Any) -> list[str]:
    """The backbones of the run in the order of a list that holds the same ones; else in their own."""
    names = results.models.names
    return cast("list[str]", order) if isinstance(order, list) and sorted(map(str, order)) == sorted(names) else names


def _possible_points(longest: int, per_task: float, rounds: int, points: Sequence[Any]) -> list[list[int]]:
    """The evaluation rounds that a run can have: the ends of the phases, and the interval that `points` begins with."""
    found = [sorted({num_rounds(phase, per_task) for phase in range(1, longest + 1)} | {rounds})]
    first = points[0] if points else None
    if isinstance(first, int) and not isinstance(first, bool) and 0 < first <= rounds:
        found.append(sorted({*range(first, rounds + 1, first), rounds}))
    return found


def _unequal(*pairs: tuple[str, Any, str, Any]) -> Iterator[str]:
    for what, value, other, due in pairs:
        if value != due or _kinds(value) != _kinds(due):
            yield f"{what} is {_short(value)}, but {other} is {_short(due)}"


def _kinds(value: Any) -> Any:
    """Whether a number is a truth value: Python holds 1 and true to be equal."""
    return [isinstance(one, bool) for one in value] if isinstance(value, list) else isinstance(value, bool)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _mapping(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, Mapping) else {}


def _nothing(*_: Any) -> Any:
    raise DrakeError("who takes part must not depend on backbones or public records here.")
