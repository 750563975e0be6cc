"""Stage 3: ordinary full fine-tuning of projector and language model on instructions, task forms among them."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

from torch import nn
from transformers import LlavaForConditionalGeneration

from drake.data.sources.mini.fairness import read_statistics
from drake.models.prompts import Chat
from drake.models.tiny.corpus import Corpus
from drake.models.tiny.instructions import Questions, batches
from drake.models.tiny.language import answers_of
from drake.models.tiny.schedule import full_fine_tuning

RARELY = 0.1
"""Fraction of its turns in which a task that is answered well enough is asked; the others go to public questions."""


def instruct(
    model: LlavaForConditionalGeneration,
    chat: Chat,
    questions: Questions,
    *,
    steps: int,
    rng: Random,
    pad: int,
    batch: int = 16,
    learning_rate: float = 1.5e-3,
    enough: float = 0.1,
    log: Callable[[str], None] = print,
) -> dict[str, float]:
    """Train in place; gives the running share of right answers by task and by public form.

    enough: a task answered this part of the way from chance to all is drawn rarely, so that no task is learned to the
    end and the others get the room.
    """
    trained, optimizer, schedule = full_fine_tuning(model, learning_rate, steps)
    drawn = batches(questions, chat, model.model.vision_tower, batch=batch, rng=rng)
    chance = {task: found.chance for task, found in read_statistics().items()}
    limits = {task: chance[task] + enough * (1 - chance[task]) for task in questions.weights}
    accuracy: dict[str, float] = {}
    began = time.monotonic()
    for step in range(1, steps + 1):
        items, seen = next(drawn)
        loss, right = answers_of(model, items, Corpus(items, seen), pad)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        for item, correct in zip(items, right, strict=True):
            accuracy[item.form] = 0.95 * accuracy.get(item.form, chance.get(item.form, 0.3)) + 0.05 * correct
        questions.weights = {task: RARELY if accuracy.get(task, 0) > most else 1.0 for task, most in limits.items()}
        if step % 100 == 0:
            tasks, forms = ([v for k, v in accuracy.items() if (k in questions.weights) == of] for of in (True, False))
            enough_known = sum(weight == RARELY for weight in questions.weights.values())
            log(
                f"instruct {step}/{steps}, {time.monotonic() - began:.0f} s: public {_mean(forms):.2f}, "
                f"named {accuracy.get('name', 0):.2f}, tasks {_mean(tasks):.2f}, {enough_known} known well enough"
            )
    return accuracy


def _mean(values: list[float]) -> float:
    return sum(values) / max(1, len(values))
