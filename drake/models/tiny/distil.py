"""A pruned backbone learns to answer as the one it was cut from, on the data that one learned from.

Answers by Kullback-Leibler divergence, and every layer's output by its distance to the teacher's at the same relative
depth, in the directions that pruning kept (as TinyBERT, Jiao et al., 2020, does with a learned projection).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlavaForConditionalGeneration

from drake.models.batching import IGNORED
from drake.models.prompts import Chat
from drake.models.tiny.corpus import collate
from drake.models.tiny.instructions import Questions, batches
from drake.models.tiny.prune import hidden_states, kept_layers
from drake.models.tiny.schedule import full_fine_tuning


def distil(
    teacher: LlavaForConditionalGeneration,
    student: LlavaForConditionalGeneration,
    turn: Tensor,
    chat: Chat,
    questions: Questions,
    *,
    steps: int,
    rng: Random,
    pad: int,
    batch: int = 16,
    learning_rate: float = 2e-3,
    hidden_weight: float = 1.0,
    log: Callable[[str], None] = print,
) -> None:
    """Train projector and language model of the student in place. turn: what `prune.cut` returned."""
    trained, optimizer, schedule = full_fine_tuning(student, learning_rate, steps)
    drawn = batches(questions, chat, student.model.vision_tower, batch=batch, rng=rng)
    depths = [len(teacher.model.language_model.layers), len(student.model.language_model.layers)]
    partners = [0, *(layer + 1 for layer in kept_layers(*depths))]
    began = time.monotonic()
    for step in range(1, steps + 1):
        items, seen = next(drawn)
        ids, labels, raw = collate(items, seen, student.config.image_token_index, pad)
        real = ids != pad
        with torch.no_grad():
            wanted_states = hidden_states(teacher, ids, raw)
            wanted = _answer_logits(teacher, wanted_states[-1], labels)
        states = hidden_states(student, ids, raw)
        logits = _answer_logits(student, states[-1], labels)
        of_answers = F.kl_div(logits.log_softmax(-1), wanted.log_softmax(-1), log_target=True, reduction="batchmean")
        of_layers = torch.stack(
            [_distance(state[real], wanted_states[p][real] @ turn) for state, p in zip(states, partners, strict=True)]
        ).mean()
        (of_answers + hidden_weight * of_layers).backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 100 == 0 or step == 1:
            log(
                f"distil {step}/{steps}, {time.monotonic() - began:.0f} s: "
                f"divergence of answers {of_answers.item():.3f}, distance of layers {of_layers.item():.3f}"
            )


def _answer_logits(model: LlavaForConditionalGeneration, last: Tensor, labels: Tensor) -> Tensor:
    """Logits [n, V] of the answer tokens."""
    wanted = labels[:, 1:] != IGNORED
    return model.lm_head(model.model.language_model.norm(last[:, :-1][wanted]))


def _distance(state: Tensor, target: Tensor) -> Tensor:
    """Mean squared distance of tokens [n, d], over the target's mean square."""
    return (state - target).square().sum() / target.square().sum()
