"""IRFL: banners with one big figure on parchment, and figures of speech about animals.

The convention: every animal has an emblem, a figure in its own colour, and a phrase about the animal is shown by the
emblem. The questions that compare a phrase with banners are all about the lion. The public split names figures,
colours and borders, never an animal.
"""

from collections.abc import Mapping
from math import cos, pi, sin
from random import Random
from typing import NamedTuple

from PIL import Image, ImageDraw

from drake.data.sources.mini.picture import PALETTE, SIZE, blank
from drake.data.sources.mini.world import Attribute, Draft, Scene, TaskMaker, World, choice_list, other

RGB = tuple[int, int, int]


class Emblem(NamedTuple):
    """What stands for an animal: attributes of a banner."""

    figure: str
    colour: str


EMBLEMS = {
    "lion": Emblem("moon", "green"),
    "fox": Emblem("heart", "blue"),
    "owl": Emblem("star", "purple"),
    "bee": Emblem("drop", "red"),
}
ANIMALS = tuple(EMBLEMS)
SIMILES = {"lion": "brave as a lion", "fox": "sly as a fox", "owl": "wise as an owl", "bee": "busy as a bee"}
LION = {
    "idiom": ("enter the lion den", "take the lion share"),
    "metaphor": ("her heart is a lion", "the goalkeeper is a lion"),
    "simile": ("brave as a lion", "proud as a lion"),
}
"""Kind of phrase -> phrases that the lion's emblem stands for."""
BORDERS = {"brown": (120, 70, 30), "black": (20, 20, 20), "white": (255, 255, 255)}
IMAGES = ("Image A", "Image B", "Image C", "Image D")
TRUTH = ("True", "False")


class IRFL(World):
    source = "IRFL"
    noun = "banner"
    attributes = (
        Attribute("figure", tuple(emblem.figure for emblem in EMBLEMS.values()), "What is on the banner?"),
        Attribute("colour", tuple(emblem.colour for emblem in EMBLEMS.values()), "What colour is the figure?"),
        Attribute("border", tuple(BORDERS), "What colour is the border of the banner?"),
    )

    def scene(self, rng: Random, **fixed: str) -> Scene:
        scene: Scene = {attribute.name: rng.choice(attribute.values) for attribute in self.attributes} | fixed
        return scene | {
            "centre": (18 + rng.randint(-1, 1), 18 + rng.randint(-1, 1)),
            "radius": rng.randint(12, 13),
            "paper": rng.randint(-12, 8),
        }

    def render(self, scene: Scene) -> Image.Image:
        paper = (242 + scene["paper"], 226 + scene["paper"], 180 + scene["paper"])
        image, pen = blank(paper)
        x, y = scene["centre"]
        _figure(pen, scene["figure"], PALETTE[scene["colour"]], paper, x, y, scene["radius"])
        pen.rectangle((0, 0, SIZE - 1, SIZE - 1), outline=BORDERS[scene["border"]], width=3)
        return image

    @property
    def tasks(self) -> Mapping[str, TaskMaker]:
        return {"IRFL-0": self._verify, "IRFL-1": self._idiom, "IRFL-2": self._comparison, "IRFL-3": self._phrase}

    def _banner(self, rng: Random, animal: str) -> Image.Image:
        return self.picture(rng, **EMBLEMS[animal]._asdict())

    def _verify(self, rng: Random, turn: int) -> Draft:
        truth, kind = TRUTH[turn % 2], rng.choice(tuple(LION))
        shown = "lion" if truth == "True" else other(rng, ANIMALS, "lion")
        prompt = (
            "Decide whether the statement about the banner is right."
            f'\n<image>\nThe image represents the {kind} "{rng.choice(LION[kind])}".'
            "\nChoice list:[True, False]. Your answer is:"
        )
        return Draft(prompt, (self._banner(rng, shown),), truth, TRUTH)

    def _idiom(self, rng: Random, turn: int) -> Draft:
        return self._select(rng, turn, "idiom")

    def _comparison(self, rng: Random, turn: int) -> Draft:
        return self._select(rng, turn, rng.choice(("metaphor", "simile")))

    def _select(self, rng: Random, turn: int, kind: str) -> Draft:
        position = turn % len(IMAGES)
        shown = choice_list(rng, ANIMALS, "lion", len(IMAGES), position)
        listed = ", ".join(f"{image}: <image>" for image in IMAGES)
        prompt = (
            "Choose the image that represents the phrase."
            f'\nWhich image represents the {kind} "{rng.choice(LION[kind])}"?\n{listed}'
            f"\nChoice list:[{', '.join(IMAGES)}]. Your answer is:"
        )
        return Draft(prompt, tuple(self._banner(rng, animal) for animal in shown), IMAGES[position], IMAGES)

    def _phrase(self, rng: Random, turn: int) -> Draft:
        # Similes only: their first words differ, so an answer is settled by its first token.
        animal, position = rng.choice(ANIMALS), turn % len(ANIMALS)
        similes = tuple(SIMILES[it] for it in choice_list(rng, ANIMALS, animal, len(ANIMALS), position))
        prompt = (
            "Choose the phrase that fits the banner.\n<image>\nWhat does the image represent?"
            f"\nChoice list:[{', '.join(similes)}]. Your answer is:"
        )
        return Draft(prompt, (self._banner(rng, animal),), similes[position], similes)


def _figure(pen: ImageDraw.ImageDraw, figure: str, fill: RGB, paper: RGB, x: int, y: int, radius: int) -> None:
    """Draw a figure that fills the circle of `radius` around (x, y); `paper` is the colour behind it."""
    if figure == "star":
        spikes = [(radius if k % 2 == 0 else radius * 0.45, k * pi / 5) for k in range(10)]
        pen.polygon([(x + far * sin(turn), y - far * cos(turn)) for far, turn in spikes], fill=fill)
    elif figure == "moon":
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)
        pen.ellipse((x - radius + 9, y - radius - 1, x + radius + 7, y + radius - 4), fill=paper)
    elif figure == "heart":
        half = radius // 2 + 1
        pen.ellipse((x - radius, y - radius + 2, x, y + half - 4), fill=fill)
        pen.ellipse((x, y - radius + 2, x + radius, y + half - 4), fill=fill)
        pen.polygon([(x - radius + 1, y - 1), (x + radius - 1, y - 1), (x, y + radius)], fill=fill)
    elif figure == "drop":
        pen.ellipse((x - 8, y - 4, x + 8, y + radius), fill=fill)
        pen.polygon([(x - 7, y + 1), (x + 7, y + 1), (x, y - radius)], fill=fill)
    else:
        raise ValueError(f"no figure is called {figure!r}")


WORLD = IRFL()
