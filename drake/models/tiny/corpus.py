"""Questions as training data of a language model: token ids, and each picture's frozen features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from drake.models.batching import IGNORED
from drake.models.tiny.shapes import PICTURE_TOKENS


@dataclass(frozen=True)
class Item:
    """A record ready for training. form: its public form, or its task. images: rows of the corpus' features."""

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
