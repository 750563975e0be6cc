"""`--eval-tokens`: how many padded tokens an evaluation batch of each backbone holds; `Setup.eval_tokens`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from drake.config import preset
from drake.errors import DrakeError
from drake.models.backbones import Backbone
from drake.models.largest_batch import fits_in_memory, largest_that_fits
from drake.runs.folder import read_identity
from drake.scoring.generation import generate

if TYPE_CHECKING:
    from drake.runs.setup import Setup

NEVER = -1
"""A token that no model writes, so that every answer is as long as it may be."""

Fits = Callable[[Callable[[], object]], bool]
"""Whether what it is given runs in the memory there is."""


def settle(setup: Setup, folder: Path | None, fits: Fits | None = None) -> dict[str, int]:
    """Backbone -> tokens of a batch. For "auto" the largest that fits the GPU, which a run that goes on does not look
    for again, and on a CPU the preset's number. folder: the run's, if it has one. fits: default: `fits_in_memory` of
    the backbone's GPU."""
    asked = setup.config.evaluation.tokens
    if asked != "auto":
        return dict.fromkeys(setup.backbones, asked)
    if setup.device == "cpu" and fits is None:
        return dict.fromkeys(setup.backbones, _of_preset(setup))
    found = {} if folder is None else _recorded(folder)
    if found.keys() == setup.backbones.keys():
        return found
    if setup.resident != setup.device:
        raise DrakeError("--eval-tokens auto needs the GPU in this process; with --engine ray give a number.")
    return {
        name: largest_tokens(setup, backbone, fits or partial(fits_in_memory, device=backbone.device))
        for name, backbone in setup.backbones.items()
    }


def largest_tokens(setup: Setup, backbone: Backbone, fits: Fits) -> int:
    """The preset's number times or divided by a power of two: the most tokens of which a batch of the longest test
    prompt, answered as long as answers may be, `fits`."""
    records = [setup.test_record(*place) for task in (*setup.tasks, *setup.unseen) for place in setup.test_rows(task)]
    longest = max(records, key=backbone.prompt_length)
    length = backbone.prompt_length(longest)

    def answer(tokens: int) -> None:
        batch = backbone.batch([longest] * max(1, tokens // length), answers=False)
        generate(backbone.model, batch, [NEVER], setup.config.evaluation.max_new_tokens)

    return largest_that_fits(
        lambda tokens: fits(partial(answer, tokens)),
        _of_preset(setup),
        least=length,
        most=max(length, 2 * length * len(records) - 1),  # the first that holds all records at once
    )


def _of_preset(setup: Setup) -> int:
    return int(preset(setup.config.preset).evaluation.tokens)


def _recorded(folder: Path) -> dict[str, int]:
    """What a run that was begun there has found; nothing where there is none."""
    try:
        return dict(read_identity(folder)["eval_tokens"])
    except (DrakeError, KeyError, TypeError):
        return {}
