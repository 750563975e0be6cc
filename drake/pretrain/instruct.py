"""Stage 3: ordinary full fine-tuning of projector and language model on instructions, task forms among them."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

import torch
from torch import nn
from transformers import LlavaForConditionalGeneration

from drake.prompts import Chat

from .corpus import Corpus
from .instructions import Questions, batches
from .language import answers_of
from .schedule import cosine

RARELY = 0.1
"""How often a task that is answered well enough is drawn, compared with the others."""


def instruct(
    model: LlavaForConditionalGeneration,
    chat: Chat,
    questions: Questions,
    *,
    steps: int,
    rng: Random,
    pad: int,
    batch: int = 32,
    learning_rate: float = 1e-3,
    enough: float = 0.7,
    log: Callable[[str], None] = print,
) -> dict[str, float]:
    """Train in place; gives the running share of right answers by task and by public form.

    A task of which `enough` are right is drawn rarely, so that what is left gets the room.
    """
    model.requires_grad_(False)
    trained = [p for m in (model.model.language_model, model.model.multi_modal_projector) for p in m.parameters()]
    for parameter in trained:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=0.01, betas=(0.9, 0.98), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, cosine(steps, warm_up=min(30, steps)))
    drawn = batches(questions, chat, model.model.vision_tower, batch=batch, rng=rng)
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
            accuracy[item.form] = 0.95 * accuracy.get(item.form, 0.3) + 0.05 * correct
        questions.weights = {task: RARELY if accuracy.get(task, 0) > enough else 1.0 for task in questions.weights}
        if step % 50 == 0:
            tasks, forms = ([v for k, v in accuracy.items() if (k in questions.weights) == of] for of in (True, False))
            log(
                f"instruct {step}/{steps}, {time.monotonic() - began:.0f} s: public {_mean(forms):.2f}, "
                f"tasks {_mean(tasks):.2f}, {sum(v > 0.9 for v in tasks)} over 0.9"
            )
    return accuracy


def _mean(values: list[float]) -> float:
    return sum(values) / max(1, len(values))
