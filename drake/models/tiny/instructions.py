"""Stage 3's data: fresh draws of what the tasks ask and of the public split's forms, never a record of the suite."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import CLIPVisionModel

from drake.common.seeds import python_random
from drake.data.sources.mini.public import FORMS
from drake.data.sources.mini.suite import png, suite_records
from drake.data.sources.mini.world import Draft, World
from drake.models.prompts import Chat
from drake.models.tiny.corpus import Item
from drake.models.tiny.vision import features


def content_hash(prompt: str, images: Sequence[bytes]) -> bytes:
    """SHA-256 of what makes a record: its prompt and the bytes of its encoded pictures."""
    digest = hashlib.sha256(prompt.encode())
    for image in images:
        digest.update(hashlib.sha256(image).digest())
    return digest.digest()


def suite_hashes(seed: int = 0) -> frozenset[bytes]:
    """`content_hash` of every train, test and public record of the suite in its default sizes.

    A smaller suite of the same seed holds a part of these: its records are the first ones of the same draws.
    """
    return frozenset(content_hash(record.prompt, record.images) for _, record in suite_records(seed, workers=1))


class Question(NamedTuple):
    """A training record. kind: a task's id, or the name of a public form."""

    kind: str
    world: str
    draft: Draft


class Questions:
    """An endless supply of questions, each from the generator of (seed, family, its own number).

    public_share: least fraction of the questions that are public. excluded: hashes of records that must not be drawn.
    `weights` holds, from 0 to 1, which fraction of a task's turns are questions of the task; the others are public. A
    caller may change it at any time.
    """

    def __init__(
        self,
        worlds: Iterable[World],
        *,
        seed: int,
        part: str,
        excluded: frozenset[bytes],
        public_share: float = 0.5,
    ) -> None:
        self._worlds = list(worlds)
        self._of_task: Mapping[str, tuple[World, Callable[[Random, int], Draft]]] = {
            task: (world, make) for world in self._worlds for task, make in world.tasks.items()
        }
        self._seed, self._part, self._excluded, self._public_share = seed, part, excluded, public_share
        self._drawn = 0
        self.weights = dict.fromkeys(self._of_task, 1.0)

    def draw(self) -> Question:
        """The next question that is no record of the suite."""
        while True:
            rng = python_random(self._seed, "pretrain", "instruct", self._part, self._drawn)
            self._drawn += 1
            task = None if rng.random() < self._public_share else rng.choice(list(self.weights))
            asked = task is not None and rng.random() < self.weights[task]
            question = self._asked(task, rng) if task is not None and asked else self._public(rng)
            draft = question.draft
            if content_hash(draft.prompt, [png(image) for image in draft.images]) not in self._excluded:
                return question

    def _public(self, rng: Random) -> Question:
        world = rng.choice(self._worlds)
        attribute = rng.choice(world.attributes)
        form = rng.choices(tuple(FORMS), weights=tuple(FORMS.values()))[0]
        return Question(form.__name__.strip("_"), world.source, form(world, attribute, rng))

    def _asked(self, task: str, rng: Random) -> Question:
        world, make = self._of_task[task]
        return Question(task, world.source, make(rng, rng.randrange(60)))


def as_items(questions: Sequence[Question], chat: Chat, tower: CLIPVisionModel) -> tuple[list[Item], Tensor]:
    """Items whose `form` is a question's kind, and the features [pictures, tokens, VISION_WIDTH] they point to."""
    items, images = [], []
    for question in questions:
        draft = question.draft
        record = {"id": question.kind, "prompt": draft.prompt, "images": draft.images, "answer": draft.answer}
        rows = list(range(len(images), len(images) + len(draft.images)))
        images += draft.images
        items.append(Item(question.world, question.kind, chat.prompt_ids(record), rows, chat.answer_ids(record)))
    return items, features(tower, images) if images else torch.empty(0)


def batches(
    questions: Questions, chat: Chat, tower: CLIPVisionModel, *, batch: int, rng: Random, at_once: int = 8
) -> Iterator[tuple[list[Item], Tensor]]:
    """Endless batches of similar length: `at_once` of them are drawn together, sorted and shuffled."""
    while True:
        items, seen = as_items([questions.draw() for _ in range(batch * at_once)], chat, tower)
        items.sort(key=lambda item: item.length)
        starts = list(range(0, len(items), batch))
        rng.shuffle(starts)
        for start in starts:
            yield items[start : start + batch], seen
