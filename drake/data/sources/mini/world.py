"""The interface of a mini world; the modules in `worlds/` implement it, `suite` draws records from them.

A world is a space of scenes, a renderer, the attributes that are visible, and one maker of records per task. Its
questions are of two kinds. Those of the `public` split ask for visible attributes in general words (`public.py` makes
them for all worlds alike), so that a backbone pretrained on them can recognise what pictures show. Those of the tasks
have the prompt shape of the original and also need a convention of the world that the public split never reveals (a
dish's name, what counts as a defect, which picture an idiom means), or a composition that it never asks for. All tasks
of a world share its convention, which is why clients with related tasks can help each other and others cannot.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, ClassVar, NamedTuple

from PIL import Image

Scene = dict[str, Any]
"""The content of a picture: every attribute's value by name, and what else the renderer needs (positions, jitter)."""


class Attribute(NamedTuple):
    """A visible attribute of one picture of this world.

    name: its key in a scene, and the noun in public questions ("colour").
    values: the words it may have as values; all of them appear in the public split.
    question: one short sentence that asks for it ("What colour is the shirt?").
    """

    name: str
    values: tuple[str, ...]
    question: str


class Draft(NamedTuple):
    """A record before it has an id. `prompt` holds one "<image>" per picture; `choices` is empty when open-ended.

    The answer is one of `choices` (or the letter or number that the prompt's list gives it), and the official matcher
    must map its text to itself.
    """

    prompt: str
    images: tuple[Image.Image, ...]
    answer: str
    choices: tuple[str, ...] = ()


TaskMaker = Callable[[Random, int], Draft]
"""(rng, turn) -> Draft. `turn` counts the records of a split: the answer is choice number turn modulo the number of
choices, so that all answers are equally frequent; everything else is drawn from `rng`."""


class World(ABC):
    """A visual world: the stand-in for one source dataset. Instances hold no state; every draw comes from `rng`."""

    source: ClassVar[str]
    """The source's id in the catalog, e.g. "NLVR2"; its tasks are called "<source>-<k>"."""
    attributes: ClassVar[tuple[Attribute, ...]]
    noun: ClassVar[str] = "picture"
    """The noun of public questions for what is shown ("shirt", "dish")."""

    @abstractmethod
    def scene(self, rng: Random, **fixed: str) -> Scene:
        """A random scene whose attributes in `fixed` have the given values; enough jitter that repeats are rare."""

    @abstractmethod
    def render(self, scene: Scene) -> Image.Image:
        """The picture of a scene: a pure function, SIZE x SIZE RGB."""

    @property
    @abstractmethod
    def tasks(self) -> Mapping[str, TaskMaker]:
        """Task id -> maker, for every task of this source in the catalog (the unseen ones included)."""

    def picture(self, rng: Random, **fixed: str) -> Image.Image:
        """The picture of a random scene with the given values."""
        return self.render(self.scene(rng, **fixed))

    def attribute(self, name: str) -> Attribute:
        """The attribute called `name`; KeyError if the world has none."""
        return {attribute.name: attribute for attribute in self.attributes}[name]


def other(rng: Random, values: tuple[str, ...], *taken: str) -> str:
    """One of `values` that is none of `taken`."""
    return rng.choice([value for value in values if value not in taken])


def choice_list(rng: Random, values: tuple[str, ...], answer: str, count: int, position: int) -> tuple[str, ...]:
    """`count` different values with `answer` at index `position`; lets a maker balance the position of the answer."""
    wrong = rng.sample([value for value in values if value != answer], count - 1)
    return (*wrong[:position], answer, *wrong[position:])
