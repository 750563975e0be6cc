"""What a user asks of a run: as text on a command line, as `Settings`, and what no run can have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch

from drake.config import Preset
from drake.errors import DrakeError
from drake.federation.participation import EVERYONE, Participation

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Settings:
    """What a user asks for.

    models: empty for the preset's. data: a built dataset, None for the embedded mini suite. options: of the method, as
    text. eval_every: rounds between evaluation points, None for the ends of the task phases. rounds: how many in all,
    None for what the preset's rounds per task make. alpha: of Dirichlet splits. attendance: who takes part in a round.
    device: "cpu", "cuda", "cuda:1"; "auto" takes a GPU where there is one. dtype: None for the preset's.
    eval_tokens: padded tokens of an evaluation batch; None for the preset's, "auto" for the most that fit a GPU.
    compile: run the decoder layers compiled while they train. feature_cache: a folder for encoded pictures that
    outlives the run, of so many GB; it decides no result.
    """

    method: str
    preset: Preset
    models: tuple[str, ...] = ()
    data: str | None = None
    split: str = "dynamic"
    seeds: tuple[int, ...] = (0,)
    options: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    dtype: str | None = None
    eval_every: int | None = None
    rounds: int | None = None
    alpha: float = 0.5
    attendance: Participation = EVERYONE
    eval_tokens: int | Literal["auto"] | None = None
    compile: bool = False
    feature_cache: str | None = None
    feature_cache_gb: float = 20.0


def check_numbers(settings: Settings) -> None:
    """DrakeError for a number that no run can have."""
    preset, training = settings.preset, settings.preset.training
    above_zero = {
        "--rounds-per-task": preset.rounds_per_task,
        "--rounds": 1 if settings.rounds is None else settings.rounds,
        "--steps": training.steps,
        "rank": training.rank,
        "micro-batch": training.micro_batch,
        "accumulation": training.accumulation,
        "--learning-rate": training.learning_rate,
        "max_new_tokens": preset.max_new_tokens,
        "--alpha": settings.alpha,
        "--eval-every": 1 if settings.eval_every is None else settings.eval_every,
        "--eval-tokens": 1 if settings.eval_tokens in (None, "auto") else settings.eval_tokens,
        "--feature-cache-gb": settings.feature_cache_gb,
    }
    for name, value in above_zero.items():
        if not value > 0:
            raise DrakeError(f"{name} is {value}; it must be more than zero.")
    if preset.eval_records < 0:
        raise DrakeError(f"--eval-records is {preset.eval_records}; it must be zero (all) or more.")
    if not settings.seeds:
        raise DrakeError("no seed is given; name at least one, such as --seeds 0.")
    if min(settings.seeds) < 0:
        raise DrakeError(f"seed {min(settings.seeds)} is negative; seeds are whole numbers from zero.")
    if len(set(settings.seeds)) < len(settings.seeds):
        raise DrakeError(f"a seed is named twice in {', '.join(map(str, settings.seeds))}; name each once.")
    if (settings.dtype or preset.dtype) not in DTYPES:
        raise DrakeError(f"unknown dtype {settings.dtype!r}; known: {', '.join(DTYPES)}.")


def resolve_device(name: str) -> str:
    """The device to run on; DrakeError when it is not there."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DrakeError(f"unknown device {name!r}; use cpu, cuda, cuda:<number> or auto.") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DrakeError(f"device {name!r} is not there: PyTorch sees {torch.cuda.device_count()} GPUs.")
    if device.type not in ("cpu", "cuda"):
        raise DrakeError(f"device {name!r} is not supported; use cpu, cuda, cuda:<number> or auto.")
    return name


def seeds_from(text: str) -> tuple[int, ...]:
    """ "0,1,2" or "0-2" -> (0, 1, 2). DrakeError for anything else."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            if dash and first:
                if int(last) < int(first):
                    raise ValueError
                found += range(int(first), int(last) + 1)
            else:
                found.append(int(part))
        except ValueError:
            raise DrakeError(f"--seeds {text!r} is no list of numbers; write 0,1,2 or 0-2.") from None
    return tuple(found)


def eval_tokens_from(text: str | None) -> int | Literal["auto"] | None:
    """ "auto" as it is, "4096" as a number. DrakeError for anything else."""
    if text is None or text == "auto":
        return text
    try:
        return int(text)
    except ValueError:
        raise DrakeError(f"--eval-tokens {text!r} is neither a number nor auto.") from None


def options_from(pairs: Sequence[str], method: str) -> dict[str, str]:
    """["fedmosaic.kept=0.2"] -> {"kept": "0.2"}. DrakeError for another shape or another method's option."""
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        owner, dot, option = name.rpartition(".")
        if not equals or not option:
            raise DrakeError(f"--set {pair!r} is not of the form {method}.<option>=<value>.")
        if dot and owner != method:
            raise DrakeError(f"--set {pair!r} is an option of {owner!r}, but the method is {method!r}.")
        found[option] = value
    return found
