"""The public split as training data of a tiny language model: token ids, and each picture's frozen features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

import torch
from PIL import Image
from torch import Tensor
from transformers import CLIPVisionModel

from drake.common.seeds import python_random
from drake.data.sources.mini.public import FORMS
from drake.data.sources.mini.world import Draft, World
from drake.models.batching import IGNORED
from drake.models.prompts import Chat
from drake.models.tiny.shapes import PICTURE_TOKENS
from drake.models.tiny.vision import features


@dataclass(frozen=True)
class Item:
    """A public record as token ids. world, form: of its question. images: rows of the corpus' features."""

    world: str
    form: str
    prompt: list[int]
    images: list[int]
    answer: list[int]

    @property
    def length(self) -> int:
        """Tokens of the row, pictures expanded."""
        return len(self.prompt) + len(self.answer) + (PICTURE_TOKENS - 1) * len(self.images)


@dataclass(frozen=True)
class Corpus:
    """Items and the features [pictures, tokens, VISION_WIDTH] they point to."""

    items: list[Item]
    features: Tensor


def public_drafts(world: World, count: int, seed: int, part: str) -> Iterator[tuple[str, Draft]]:
    """(name of the question form, draft) of `count` public records of a world. part: "train" or "held-out", which draw
    different records with the same seed."""
    rng = python_random(seed, "pretrain", "public", part, world.source)
    forms, weights = tuple(FORMS), tuple(FORMS.values())
    for _ in range(count):
        attribute = rng.choice(world.attributes)
        form = rng.choices(forms, weights=weights)[0]
        yield form.__name__.strip("_"), form(world, attribute, rng)


def corpus(
    worlds: Sequence[World], chat: Chat, tower: CLIPVisionModel, *, per_world: int, seed: int, part: str
) -> Corpus:
    """`per_world` public records of every world, their pictures encoded by `tower`."""
    items: list[Item] = []
    seen: list[Tensor] = []
    count = 0
    for world in worlds:
        images: list[Image.Image] = []
        for form, draft in public_drafts(world, per_world, seed, part):
            record = {"id": "public", "prompt": draft.prompt, "images": draft.images, "answer": draft.answer}
            rows = list(range(count + len(images), count + len(images) + len(draft.images)))
            images.extend(draft.images)
            items.append(Item(world.source, form, chat.prompt_ids(record), rows, chat.answer_ids(record)))
        seen.append(features(tower, images))
        count += len(images)
    return Corpus(items, torch.cat(seen))


def collate(
    items: Sequence[Item], corpus_features: Tensor, image_token: int, pad: int
) -> tuple[Tensor, Tensor, Tensor]:
    """ids [B, T] padded right, labels [B, T], and the pictures' features [n, tokens, VISION_WIDTH]."""
    width = max(item.length for item in items)
    ids = torch.full((len(items), width), pad)
    labels = torch.full((len(items), width), IGNORED)
    for row, item in enumerate(items):
        prompt = [t for id_ in item.prompt for t in ([id_] * PICTURE_TOKENS if id_ == image_token else [id_])]
        ids[row, : item.length] = torch.tensor(prompt + item.answer)
        labels[row, len(prompt) : item.length] = torch.tensor(item.answer)
    return ids, labels, corpus_features[[image for item in items for image in item.images]]


def buckets(items: Sequence[Item], batch: int, rng: Random) -> Iterator[list[Item]]:
    """Batches of `batch` items of similar length, in random order; without end."""
    size = min(batch, len(items))
    while True:
        order = list(items)
        rng.shuffle(order)
        groups: list[list[Item]] = []
        for start in range(0, len(order) - size + 1, size * 32):
            part = sorted(order[start : start + size * 32], key=lambda item: item.length)
            groups += [part[i : i + size] for i in range(0, len(part) - size + 1, size)]
        rng.shuffle(groups)
        yield from groups
