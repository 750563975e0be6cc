"""One tiny backbone from nothing to a checkpoint folder: a medium one is trained, a small one is cut from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copyfile

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPVisionModel, LlavaForConditionalGeneration, LlavaProcessor

from drake.common.files import replacing
from drake.common.seeds import python_random
from drake.common.threads import use_threads
from drake.data.sources.mini.world import World
from drake.data.sources.mini.worlds import all_worlds
from drake.errors import DrakeError, UnknownName
from drake.models import backbones
from drake.models.prompts import Chat
from drake.models.tiny.card import card
from drake.models.tiny.corpus import Corpus, collate
from drake.models.tiny.distil import distil
from drake.models.tiny.instruct import instruct
from drake.models.tiny.instructions import Questions, as_items, batches, suite_hashes
from drake.models.tiny.language import align, form_accuracy, start_as_matchers
from drake.models.tiny.prune import cut, measure
from drake.models.tiny.shapes import SHAPES, Shape, new_model, new_processor, new_tokenizer, vision_config
from drake.models.tiny.vision import train_vision

STORED = torch.float16
"""The precision in which weights are stored; they are loaded in float32."""

CUT_FROM = {"tiny-llama-s": "tiny-llama-m", "tiny-qwen-s": "tiny-qwen-m"}
"""A small backbone and the medium one it is made of."""

PROCESSOR_FILES = ("chat_template.jinja", "processor_config.json", "tokenizer.json", "tokenizer_config.json")
"""What a small backbone shares with the medium one."""


@dataclass(frozen=True)
class Numbers:
    """How much of everything: optimizer steps of the four stages (vision tower, alignment of pictures with words,
    instructions, distillation), records to learn the tokenizer's words from, batches to measure activations on, and
    records to report on."""

    vision: int = 2500
    align: int = 500
    instruct: int = 4000
    distil: int = 1500
    words: int = 8000
    measured: int = 16
    held_out: int = 1000


@dataclass
class Recipe:
    """The recipe of one backbone. excluded: hashes of records that must not be drawn, those of the suite."""

    name: str
    seed: int = 0
    numbers: Numbers = Numbers()
    excluded: frozenset[bytes] = field(default_factory=lambda: suite_hashes())
    log: Callable[[str], None] = print

    @property
    def shape(self) -> Shape:
        return SHAPES[self.name]

    @property
    def worlds(self) -> list[World]:
        return list(all_worlds().values())

    def questions(self, part: str, public_share: float = 0.5) -> Questions:
        """Draws that differ by family, seed and part of the recipe."""
        family = f"{self.shape.family} {part}"
        return Questions(self.worlds, seed=self.seed, part=family, excluded=self.excluded, public_share=public_share)

    def tower(self, kept: Path | None) -> CLIPVisionModel:
        """The frozen vision tower, rounded as it is stored; from `kept`, or trained and kept there."""
        if kept is None or not kept.exists():
            trained = train_vision(self.worlds, steps=self.numbers.vision, seed=self.seed, log=self.log)
            stored = {key: value.to(STORED) for key, value in trained.state_dict().items()}
            if kept is not None:
                with replacing(kept) as temporary:
                    save_file(stored, temporary)
        else:
            stored = load_file(kept)
        tower = CLIPVisionModel(vision_config())
        tower.load_state_dict(stored)
        return tower.eval().requires_grad_(False)

    def medium(self, tower: CLIPVisionModel) -> tuple[LlavaForConditionalGeneration, LlavaProcessor]:
        """Words, alignment and instructions."""
        seed, family, drawn = self.seed, self.shape.family, self.questions("words")
        drafts = [drawn.draw().draft for _ in range(self.numbers.words)]
        tokenizer = new_tokenizer(family, [text for draft in drafts for text in (draft.prompt, draft.answer)])
        processor = new_processor(family, tokenizer)
        chat = Chat(processor, self.name)
        model = new_model(self.shape, tokenizer, seed)
        model.model.vision_tower.load_state_dict(tower.state_dict())
        start_as_matchers(model, seed, family)
        align(model, tokenizer, self.worlds, tower, family=family, seed=seed, steps=self.numbers.align, log=self.log)
        instruct(
            model,
            chat,
            self.questions("instruct"),
            steps=self.numbers.instruct,
            rng=python_random(seed, "pretrain", "instruct", "order", family),
            pad=chat.tokenizer.pad_token_id,
            log=self.log,
        )
        return model, processor

    def small(self, teacher: backbones.Backbone) -> LlavaForConditionalGeneration:
        """Cut from the medium one and distilled."""
        chat, pad = teacher.chat, teacher.pad_id
        small = new_model(self.shape, teacher.tokenizer, self.seed)
        turn = cut(teacher.model, small, measure(teacher.model, self._measured(teacher)))
        distil(
            teacher.model,
            small,
            turn,
            chat,
            self.questions("distil"),
            steps=self.numbers.distil,
            rng=python_random(self.seed, "pretrain", "distil", "order", self.shape.family),
            pad=pad,
            log=self.log,
        )
        return small

    def _measured(self, teacher: backbones.Backbone) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        tower, image = teacher.model.model.vision_tower, teacher.model.config.image_token_index
        rng = python_random(self.seed, "pretrain", "measure", "order", self.shape.family)
        drawn = batches(self.questions("measure"), teacher.chat, tower, batch=32, rng=rng)
        for _ in range(self.numbers.measured):
            ids, _, raw = collate(*next(drawn), image, teacher.pad_id)
            yield ids, ids != teacher.pad_id, raw

    def held_out(self, model: LlavaForConditionalGeneration, chat: Chat, pad: int) -> dict[str, float]:
        """Accuracy on public questions it was not trained on, by form."""
        drawn = self.questions("held out", public_share=1.0)
        questions = [drawn.draw() for _ in range(self.numbers.held_out)]
        return form_accuracy(model, Corpus(*as_items(questions, chat, model.model.vision_tower)), pad)


def train(
    name: str,
    out: Path,
    *,
    seed: int = 0,
    vision: Path | None = None,
    medium: Path | None = None,
    numbers: Numbers | None = None,
    score: Callable[[Path], dict[str, float]] = lambda folder: {},
    log: Callable[[str], None] = print,
) -> Path:
    """Train the backbone `name` and write it to `out` as an ordinary checkpoint folder, which is returned.

    vision: a safetensors file that holds the trained tower, or where to put it; the four backbones share one.
    medium: of a small backbone: the folder of the one it is cut from; made beside `out` where it is not given.
    score: scores the checkpoint on tasks, by name from 0 to 1, for its card.
    Runs on one thread, so that the same seed gives the same bits. Raises UnknownName, and DrakeError for a `medium` of
    another shape.
    """
    if name not in SHAPES:
        raise UnknownName("tiny backbone", name, list(SHAPES))
    use_threads(1)
    began = time.monotonic()
    recipe = Recipe(name, seed, numbers or Numbers(), log=log)
    if name in CUT_FROM:
        folder = medium or out.parent / CUT_FROM[name]
        if not (folder / "config.json").exists():
            train(CUT_FROM[name], folder, seed=seed, vision=vision, numbers=numbers, score=score, log=log)
            began = time.monotonic()
        teacher = backbones.load(folder)
        wanted = SHAPES[CUT_FROM[name]]
        if (teacher.family, teacher.num_layers, teacher.hidden_size) != (wanted.family, wanted.layers, wanted.width):
            raise DrakeError(f"{folder} holds no {CUT_FROM[name]}, from which {name} is cut; name another folder.")
        model = recipe.small(teacher)
        out.mkdir(parents=True, exist_ok=True)
        for file in PROCESSOR_FILES:  # as they are: a processor that was loaded would note how
            copyfile(folder / file, out / file)
    else:
        model, processor = recipe.medium(recipe.tower(vision))
        processor.save_pretrained(out)
    model.save_pretrained(out, state_dict={key: value.to(STORED) for key, value in model.state_dict().items()})
    minutes = (time.monotonic() - began) / 60
    stored = backbones.load(out)
    accuracy = recipe.held_out(stored.model, stored.chat, stored.pad_id)
    with replacing(out / "README.md") as temporary:
        temporary.write_text(card(name, CUT_FROM.get(name), seed, minutes, accuracy, score(out)))
    return out
