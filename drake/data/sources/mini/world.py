"""What a mini world is. `drake.data.sources.mini` deals its records; the modules in `worlds/` are its instances.

A world is a space of scenes, a renderer, the attributes a viewer can name, and one maker per task. Two kinds of
question are asked of it. The `public` split asks for visible attributes in general words (`public.py` makes these for
every world alike), so a backbone pretrained on it can see. The tasks ask in their original's prompt shape for
something that also needs a convention of the world which the public split never tells (a dish's name, what counts as
a defect, which picture an idiom means) or a composition it never asks for. The convention is shared by the tasks of
the world, which is why related clients can help each other and strangers cannot.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, ClassVar, NamedTuple

from PIL import Image

Scene = dict[str, Any]
"""What a picture shows: every attribute's value by name, plus whatever the renderer needs (positions, jitter)."""


class Attribute(NamedTuple):
    """Something a viewer can name in one picture of this world.

    name: the scene's key and the noun of the public questions ("colour").
    values: the words a scene may hold; all of them appear in the public split.
    question: asks for it in one short sentence ("What colour is the shirt?").
    """

    name: str
    values: tuple[str, ...]
    question: str


class Draft(NamedTuple):
    """A record before it has an id. `prompt` holds one "<image>" per picture; `choices` is empty when open-ended.

    The answer stands in `choices` literally (or is the letter or number the prompt's list gives it), and the official
    matcher must recover it from its own text.
    """

    prompt: str
    images: tuple[Image.Image, ...]
    answer: str
    choices: tuple[str, ...] = ()


TaskMaker = Callable[[Random, int], Draft]
"""(rng, turn) -> Draft. `turn` counts the records of a split: take the answer as turn modulo the number of choices, so
that every answer is as frequent as any other; draw everything else from `rng`."""


class World(ABC):
    """A visual world: the stand-in for one source dataset. Instances hold no state; every draw comes from `rng`."""

    source: ClassVar[str]
    """The source's id in the catalog, e.g. "NLVR2"; its tasks are called "<source>-<k>"."""
    attributes: ClassVar[tuple[Attribute, ...]]
    noun: ClassVar[str] = "picture"
    """What public questions call the thing shown ("shirt", "dish")."""

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
        """Shorthand: the picture of a random scene."""
        return self.render(self.scene(rng, **fixed))

    def attribute(self, name: str) -> Attribute:
        """The attribute called `name`; KeyError if the world has none."""
        return {attribute.name: attribute for attribute in self.attributes}[name]


def other(rng: Random, values: tuple[str, ...], *taken: str) -> str:
    """One of `values` that is none of `taken`."""
    return rng.choice([value for value in values if value not in taken])


def choice_list(rng: Random, values: tuple[str, ...], answer: str, count: int, position: int) -> tuple[str, ...]:
    """`count` different values with `answer` at index `position`: how a maker balances where the answer stands."""
    wrong = rng.sample([value for value in values if value != answer], count - 1)
    return (*wrong[:position], answer, *wrong[position:])
