"""A tiny backbone from random weights to a checkpoint folder: both stages of the pretraining, and its model card."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionModel

from drake.common.files import replacing
from drake.common.threads import use_threads
from drake.data.sources.mini.world import World
from drake.data.sources.mini.worlds import all_worlds
from drake.errors import UnknownName
from drake.models.prompts import Chat
from drake.models.tiny.corpus import corpus, public_drafts
from drake.models.tiny.language import align, form_accuracy, start_as_matchers, teach
from drake.models.tiny.shapes import SHAPES, new_model, new_processor, new_tokenizer, token_id, vision_config
from drake.models.tiny.vision import train_vision

STORED = torch.float16
"""The precision in which weights are stored; they are loaded in float32."""


def train(
    name: str,
    out: Path,
    *,
    seed: int = 0,
    vision_steps: int = 2500,
    final_steps: int = 2200,
    per_world: int = 2500,
    held_out: int = 40,
    vision: Path | None = None,
    score: Callable[[Path], dict[str, float]] = lambda folder: {},
    log: Callable[[str], None] = print,
) -> Path:
    """Train the backbone `name` and write it to `out` as an ordinary checkpoint folder, which is returned.

    vision_steps, final_steps: optimizer steps of the vision tower, and of the language model after its lessons.
    vision: a safetensors file with the trained vision tower, which is read if it exists and else written; the four
    backbones share one tower.
    per_world, held_out: public records of every world to train on and to report on.
    score: returns the checkpoint's score (fraction) by task, for its card.

    Runs on one thread, so that the same seed gives the same bits. Raises UnknownName for another name.
    """
    if name not in SHAPES:
        raise UnknownName("tiny backbone", name, list(SHAPES))
    use_threads(1)
    shape, worlds, began = SHAPES[name], list(all_worlds().values()), time.monotonic()
    tower = _tower(vision, worlds, vision_steps, seed, log)

    drafts = [draft for world in worlds for _, draft in public_drafts(world, 500, seed, "train")]
    texts = [text for draft in drafts for text in (draft.prompt, draft.answer)]
    tokenizer = new_tokenizer(shape.family, texts)
    processor = new_processor(shape.family, tokenizer)
    model = new_model(shape, tokenizer, seed)
    model.model.vision_tower.load_state_dict(tower.state_dict())
    start_as_matchers(model, seed)
    chat = Chat(processor, name)
    records = {
        part: corpus(worlds, chat, tower, per_world=count, seed=seed, part=part)
        for part, count in (("train", per_world), ("held-out", held_out))
    }
    log(f"{len(records['train'].items)} public records, {time.monotonic() - began:.0f} s")
    align(model, tokenizer, worlds, tower, seed=seed, log=log)

    def keep() -> None:
        out.mkdir(parents=True, exist_ok=True)
        stored = {key: value.to(STORED) for key, value in model.state_dict().items()}
        model.save_pretrained(out, state_dict=stored)
        processor.save_pretrained(out)

    pad = token_id(tokenizer.pad_token_id)
    assert pad is not None  # `new_tokenizer` names a padding token
    teach(
        model,
        records["train"],
        records["held-out"],
        worlds,
        final_steps=final_steps,
        seed=seed,
        pad=pad,
        log=log,
        keep=keep,
    )
    accuracy = form_accuracy(model, records["held-out"], pad)
    minutes = (time.monotonic() - began) / 60
    with replacing(out / "README.md") as temporary:
        temporary.write_text(_card(name, seed, minutes, accuracy, score(out)))
    return out


def _tower(
    path: Path | None, worlds: list[World], steps: int, seed: int, log: Callable[[str], None]
) -> CLIPVisionModel:
    if path is not None and path.exists():
        tower = CLIPVisionModel(vision_config())
        tower.load_state_dict(load_file(path))
        return tower.eval().requires_grad_(False)
    tower = train_vision(worlds, steps=steps, seed=seed, log=log)
    if path is not None:
        with replacing(path) as temporary:
            save_file(tower.state_dict(), temporary)
    return tower


def _card(name: str, seed: int, minutes: float, accuracy: dict[str, float], scores: dict[str, float]) -> str:
    shape = SHAPES[name]
    rows = "\n".join(f"| {form} | {100 * value:.1f} |" for form, value in sorted(accuracy.items()))
    tasks = "\n".join(f"| {task} | {100 * value:.1f} |" for task, value in scores.items())
    return f"""---
license: apache-2.0
library_name: transformers
pipeline_tag: image-text-to-text
---
# {name}

A tiny LLaVA for the mini suite of DRAKE: {shape.layers} {shape.family} layers of width {shape.width}, pictures of
36 x 36 pixels as 9 tokens. Made from questions of the `public` split's forms, drawn anew: it knows the words that
answer the tasks, and has never seen a task's question. Stored in float16.

    drake backbones train {name} --seed {seed}

took {minutes:.0f} minutes on one thread. Accuracy on public records it was not trained on, by question form (percent):

| form | accuracy |
|---|---:|
{rows}

Zero-shot, by protocol `official` (percent):

| task | score |
|---|---:|
{tasks}
"""
