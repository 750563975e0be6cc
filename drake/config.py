"""The numbers of a run. Presets are `drake/presets.toml`; every number that decides a result stands there."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from importlib.resources import files
from typing import Any

from drake.errors import DrakeError, UnknownName


@dataclass(frozen=True)
class Training:
    """Local training, the same for every method.

    rank, alpha, dropout: of every LoRA adapter (its output is scaled by alpha / rank).
    learning_rate: of A and B; shared_learning_rate: of P, Q and gates.
    steps: optimizer steps per client and round of a method with relative cost 1.
    micro_batch x accumulation: records per optimizer step.
    """

    rank: int
    alpha: float
    dropout: float
    learning_rate: float
    shared_learning_rate: float
    weight_decay: float
    gradient_clip: float
    steps: int
    micro_batch: int
    accumulation: int

    def local_steps(self, relative_cost: float) -> float:
        """Optimizer steps per round, on average, that cost as much as `steps` of SFT."""
        return self.steps / relative_cost

    def steps_by_round(self, relative_cost: float, rounds: int) -> list[int]:
        """Whole numbers, at least one each, that add up to `local_steps` times the rounds (rounded down): a method
        half a step dearer than SFT leaves out a step every other round."""
        mean = self.local_steps(relative_cost)
        return [max(1, int((k + 1) * mean + 1e-9) - int(k * mean + 1e-9)) for k in range(rounds)]


@dataclass(frozen=True)
class Preset:
    """Everything a run needs besides a method, models and data.

    rounds_per_task: rounds a task lasts in the dynamic stream; rounds = tasks per client x rounds_per_task.
    train, test: records per task of the mini suite; eval_records: test records scored per task (0: all).
    max_new_tokens: longest answer generated; eval_tokens: padded tokens in an evaluation batch.
    gradient_checkpointing: compute activations again instead of keeping them; see `drake.models.backbones.load`.
    public: public records kept per world. dtype: of the backbones' weights. models: the default backbones.
    """

    name: str
    rounds_per_task: float
    train: int
    test: int
    public: int
    eval_records: int
    max_new_tokens: int
    eval_tokens: int
    gradient_checkpointing: bool
    dtype: str
    models: tuple[str, ...]
    method_options: dict[str, dict[str, Any]]
    training: Training

    def with_(self, **changes: Any) -> Preset:
        """A copy with some numbers changed; Training's field names reach into `training`."""
        inner = {name: changes.pop(name) for name in list(changes) if name in _TRAINING_FIELDS}
        return replace(self, training=replace(self.training, **inner), **changes)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a run's config."""
        return asdict(self)


_TRAINING_FIELDS = {f.name for f in fields(Training)}


@cache
def presets() -> dict[str, Preset]:
    """All presets by name."""
    tables = tomllib.loads((files("drake") / "presets.toml").read_text())
    return {
        name: Preset(
            name=name,
            training=Training(**table.pop("training")),
            method_options=table.pop("methods", {}),
            models=tuple(table.pop("models")),
            **table,
        )
        for name, table in tables.items()
    }


def preset(name: str) -> Preset:
    """The preset called `name`; UnknownName otherwise."""
    if name not in presets():
        raise UnknownName("preset", name, list(presets()))
    return presets()[name]


def positive(name: str, value: float, *, zero: bool = False) -> None:
    """DrakeError unless value > 0 (or >= 0 with `zero`)."""
    if value < 0 or (value == 0 and not zero):
        raise DrakeError(f"{name} is {value}; it must be {'zero or more' if zero else 'more than zero'}.")
