"""Stage 2: projector and language model learn to answer the public split about frozen pictures.

A tiny model learns to name what a picture shows from the first step on. It does not learn to compare that with a word
of the question (is it red? which option is it? in which image?): on all worlds and question forms at once it stays at
chance for thousands of steps. The curriculum therefore adds one form at a time on a few worlds, where each is learned
in some hundred steps, and then widens to all worlds. A lesson keeps the forms of the earlier ones, since a form left
out for some hundred steps is forgotten. A lesson ends when all its forms are answered well, or at its step limit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPVisionModel, LlavaForConditionalGeneration, PreTrainedTokenizerFast

from drake.common.seeds import derive, python_random
from drake.data.sources.mini.world import World
from drake.models.batching import IGNORED
from drake.models.tiny.corpus import Corpus, Item, buckets, collate
from drake.models.tiny.schedule import cosine
from drake.models.tiny.vision import features


class Lesson(NamedTuple):
    """One step of the curriculum.

    worlds: number of worlds, the first ones. forms: question forms; None for all. steps: upper limit of steps.
    enough: running accuracy (fraction) of the worst form at which the lesson ends.
    """

    worlds: int
    forms: tuple[str, ...] | None
    steps: int
    enough: float


FEW, SOME = 3, 10
ONE_PICTURE = ("letter", "verify", "number", "name", "open", "repeat")
LESSONS = (
    Lesson(FEW, ("verify",), 700, 0.9),
    Lesson(FEW, ("letter", "verify"), 900, 0.8),
    Lesson(FEW, ONE_PICTURE, 700, 0.8),
    Lesson(FEW, (*ONE_PICTURE, "of_which", "select"), 900, 0.8),
    Lesson(SOME, None, 500, 0.85),
)
"""The curriculum; after it comes the whole public split, with a falling learning rate."""

LEAST_STEPS = 100
"""Steps that a lesson takes at least."""
WARM_UP = 100
"""Steps over which the learning rate rises at the start."""


def teach(
    model: LlavaForConditionalGeneration,
    train: Corpus,
    held_out: Corpus,
    worlds: Sequence[World],
    *,
    final_steps: int,
    seed: int,
    pad: int,
    lessons: Sequence[Lesson] = LESSONS,
    batch: int = 32,
    learning_rate: float = 2e-3,
    log: Callable[[str], None] = print,
    keep: Callable[[], None] = lambda: None,
) -> None:
    """Train the model in place: all lessons, then `final_steps` on all records with half a cosine.

    pad: id of the padding token. keep: called after each lesson and every 500 steps, to store the weights so far.
    """
    trained = [p for m in (model.model.language_model, model.model.multi_modal_projector) for p in m.parameters()]
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=0.01, betas=(0.9, 0.98), fused=True)
    rng = python_random(seed, "pretrain", "order")
    falling = cosine(final_steps, warm_up=1)
    began, done = time.monotonic(), 0
    last = Lesson(len(worlds), None, final_steps, 2.0)
    for lesson in (*lessons, last):
        names = {world.source for world in worlds[: lesson.worlds]}
        chosen = [i for i in train.items if i.world in names and (lesson.forms is None or i.form in lesson.forms)]
        batches = buckets(chosen, batch, rng)
        accuracy: dict[str, float] = {}
        for step in range(1, lesson.steps + 1):
            factor = min(1.0, (done + 1) / WARM_UP) * (falling(step - 1) if lesson is last else 1.0)
            optimizer.param_groups[0]["lr"] = learning_rate * factor
            items = next(batches)
            loss, right = _answers(model, items, train, pad)
            loss.backward()
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            done += 1
            for item, correct in zip(items, right, strict=True):
                accuracy[item.form] = 0.98 * accuracy.get(item.form, 0.5) + 0.02 * correct
            if step % 100 == 0:
                now = time.monotonic() - began
                log(f"lesson of {lesson.worlds} worlds {step}/{lesson.steps}, {now:.0f} s: {_shown(accuracy)}")
            if lesson.forms and step >= LEAST_STEPS and min(accuracy.get(f, 0) for f in lesson.forms) >= lesson.enough:
                break
            if step % 500 == 0:
                keep()
        log(f"held out after {done} steps: {_shown(form_accuracy(model, held_out, pad))}")
        keep()


def _shown(accuracy: dict[str, float]) -> str:
    return " ".join(f"{form} {value:.2f}" for form, value in sorted(accuracy.items()))


def _answers(
    model: LlavaForConditionalGeneration, items: Sequence[Item], corpus: Corpus, pad: int
) -> tuple[Tensor, list[bool]]:
    """Mean cross-entropy over the answer tokens, and per item whether greedy decoding gives its answer: every answer
    token is the likeliest, given the ones before."""
    image_token = model.config.image_token_index
    ids, labels, raw = collate(items, corpus.features, image_token, pad)
    pictures = model.model.multi_modal_projector(raw).flatten(0, 1)
    embeds = model.get_input_embeddings()(ids).masked_scatter((ids == image_token).unsqueeze(-1), pictures)
    # Right padding under causal attention needs no mask.
    hidden = model.model.language_model(inputs_embeds=embeds, use_cache=False).last_hidden_state[:, :-1]
    targets = labels[:, 1:]
    wanted = targets != IGNORED
    logits = model.lm_head(hidden[wanted])
    wrong = torch.zeros_like(wanted)
    wrong[wanted] = logits.argmax(-1) != targets[wanted]
    return F.cross_entropy(logits, targets[wanted]), (~wrong.any(1)).tolist()


@torch.no_grad()
def form_accuracy(model: LlavaForConditionalGeneration, corpus: Corpus, pad: int, batch: int = 64) -> dict[str, float]:
    """Fraction of records, by question form, whose answer tokens are each the likeliest given the ones before."""
    right: dict[str, list[bool]] = {}
    items = sorted(corpus.items, key=lambda item: item.length)
    for start in range(0, len(items), batch):
        part = items[start : start + batch]
        for item, correct in zip(part, _answers(model, part, corpus, pad)[1], strict=True):
            right.setdefault(item.form, []).append(correct)
    return {form: sum(found) / len(found) for form, found in right.items()}


@torch.no_grad()
def start_as_matchers(model: LlavaForConditionalGeneration, seed: int, scale: float = 0.1) -> None:
    """Initialise every attention head to attend to tokens similar to the query's own: queries equal keys.

    A simple form of mimetic initialisation (Trockman and Kolter, ICML 2023): trained transformers show this pattern.
    """
    rng = torch.Generator().manual_seed(derive(seed, "pretrain", "matchers"))
    for layer in model.model.language_model.layers:
        attention = layer.self_attn
        keys = torch.randn(attention.k_proj.weight.shape, generator=rng) * scale
        attention.k_proj.weight.copy_(keys)
        attention.q_proj.weight.copy_(keys.repeat(len(attention.q_proj.weight) // len(keys), 1))


def align(
    model: LlavaForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    worlds: Sequence[World],
    tower: CLIPVisionModel,
    *,
    seed: int,
    per_world: int = 400,
    steps: int = 500,
    learning_rate: float = 3e-3,
    log: Callable[[str], None] = print,
) -> None:
    """Train projector and word embeddings so that a picture's tokens lie near the words that name what it shows:
    comparing a picture with a word then starts out as comparing two words."""
    rng = python_random(seed, "pretrain", "align")
    data: list[tuple[Tensor, list[tuple[list[list[int]], Tensor]]]] = []
    for world in worlds:
        scenes = [world.scene(rng) for _ in range(per_world)]
        raw = features(tower, [world.render(scene) for scene in scenes])
        questions: list[tuple[list[list[int]], Tensor]] = []
        for attribute in world.attributes:
            words = [tokenizer("\n" + value, add_special_tokens=False)["input_ids"][1:] for value in attribute.values]
            target = torch.tensor([attribute.values.index(scene[attribute.name]) for scene in scenes])
            questions.append((words, target))
        data.append((raw, questions))
    embeddings, projector = cast(nn.Embedding, model.get_input_embeddings()), model.model.multi_modal_projector
    parameters = [*projector.parameters(), embeddings.weight]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, cosine(steps, warm_up=50))
    for step in range(1, steps + 1):
        losses: list[Tensor] = []
        right: list[Tensor] = []
        for raw, questions in rng.sample(data, min(8, len(data))):
            rows = torch.tensor(rng.sample(range(per_world), 32))
            tokens = projector(raw[rows])
            tokens = F.rms_norm(tokens, tokens.shape[-1:])
            for words, target in questions:
                table = torch.stack([embeddings.weight[word].mean(0) for word in words])
                logits = tokens @ table.T
                losses.append(F.cross_entropy(logits.flatten(0, 1), target[rows].repeat_interleave(tokens.shape[1])))
                right.append((logits.mean(1).argmax(-1) == target[rows]).float().mean())
        torch.stack(losses).mean().backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 100 == 0:
            log(f"align {step}/{steps}: named {torch.stack(right).mean().item():.3f}")
