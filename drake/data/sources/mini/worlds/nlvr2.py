"""NLVR2: pairs of scenes with coloured shapes on a 3 x 3 grid, and a statement about the pair.

The convention: three of the six colours are "lucky". The public split names colours, shapes and counts, never luck.
"""

from collections.abc import Mapping
from random import Random

from PIL import Image

from drake.data.sources.mini.picture import SHAPES, blank, cell, draw_shape
from drake.data.sources.mini.world import Attribute, Draft, Scene, TaskMaker, World

COLOURS = ("red", "green", "blue", "yellow", "purple", "orange")
LUCKY = ("red", "blue", "yellow")
UNLUCKY = ("green", "purple", "orange")
COUNTS = ("one", "two", "three", "four")
INSTRUCTION = "Check whether the relation holds between the two images."
SUFFIX = "\nChoice list:[True, False]. Your answer is:"


class NLVR2(World):
    source = "NLVR2"
    noun = "scene"
    attributes = (
        Attribute("colour", COLOURS, "What colour are the objects?"),
        Attribute("shape", SHAPES[:4], "What shape are the objects?"),
        Attribute("count", COUNTS, "How many objects are there?"),
    )

    def scene(self, rng: Random, **fixed: str) -> Scene:
        scene: Scene = {attribute.name: rng.choice(attribute.values) for attribute in self.attributes} | fixed
        places = rng.sample(range(9), COUNTS.index(scene["count"]) + 1)
        shade = rng.randrange(100, 150)
        return scene | {
            "places": [(place % 3, place // 3, rng.randint(-1, 1), rng.randint(-1, 1)) for place in places],
            "background": (shade, shade, shade),
        }

    def render(self, scene: Scene) -> Image.Image:
        image, pen = blank(scene["background"])
        for column, row, dx, dy in scene["places"]:
            draw_shape(pen, scene["shape"], scene["colour"], cell(column, row, (dx, dy)))
        return image

    @property
    def tasks(self) -> Mapping[str, TaskMaker]:
        return {"NLVR2-0": self._both_lucky, "NLVR2-1": self._one_lucky}

    def _both_lucky(self, rng: Random, turn: int) -> Draft:
        luck = (True, True) if turn % 2 == 0 else rng.choice([(True, False), (False, True)])
        return self._draft(rng, luck, "both scenes are lucky", turn)

    def _one_lucky(self, rng: Random, turn: int) -> Draft:
        luck = rng.choice([(True, False), (False, True)]) if turn % 2 == 0 else (False, False)
        return self._draft(rng, luck, "at least one scene is lucky", turn)

    def _draft(self, rng: Random, luck: tuple[bool, bool], relation: str, turn: int) -> Draft:
        return Draft(
            f"{INSTRUCTION}\n<image><image>\nRelation: {relation}.{SUFFIX}",
            tuple(self.picture(rng, colour=rng.choice(LUCKY if lucky else UNLUCKY)) for lucky in luck),
            ("True", "False")[turn % 2],
            ("True", "False"),
        )


WORLD = NLVR2()
