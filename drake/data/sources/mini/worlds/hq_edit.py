"""HQ_Edit: a front door before and after an edit, and an instruction that names a style.

The convention: which colours of door are festive. False means that the inverse edit was made: the door was festive
and is so no more.
"""

from collections.abc import Mapping
from random import Random

from PIL import Image

from drake.data.sources.mini.picture import PALETTE, SHAPES, blank, draw_shape
from drake.data.sources.mini.world import Attribute, Draft, Scene, TaskMaker, World

FESTIVE = ("blue", "orange", "yellow")
SOBER = ("red", "green", "purple")
COLOURS = (*FESTIVE, *SOBER)
WINDOWS = SHAPES[:4]
WALLS = {"brick": (170, 104, 88), "stone": (158, 160, 164), "plaster": (232, 224, 206)}


class HQEdit(World):
    source = "HQ_Edit"
    noun = "door"
    attributes = (
        Attribute("door", COLOURS, "What colour is the door?"),
        Attribute("window", WINDOWS, "What shape is the window in the door?"),
        Attribute("wall", tuple(WALLS), "What is the wall made of?"),
    )

    def scene(self, rng: Random, **fixed: str) -> Scene:
        scene: Scene = {attribute.name: rng.choice(attribute.values) for attribute in self.attributes} | fixed
        return scene | {
            "shade": rng.randrange(-10, 11),
            "edge": (rng.randint(5, 8), rng.randint(2, 4)),
            "knob": rng.choice(("left", "right")),
        }

    def render(self, scene: Scene) -> Image.Image:
        wall = tuple(channel + scene["shade"] for channel in WALLS[scene["wall"]])
        joint = tuple(channel - 35 for channel in wall)
        image, pen = blank(wall)
        if scene["wall"] == "brick":
            for row, top in enumerate(range(0, 36, 5)):
                pen.line((0, top, 35, top), fill=joint)
                for column in range(row % 2 * 4, 36, 8):
                    pen.line((column, top, column, top + 5), fill=joint)
        elif scene["wall"] == "stone":
            for centre in ((2, 8), (3, 24), (33, 4), (32, 20)):
                pen.ellipse((centre[0] - 4, centre[1] - 5, centre[0] + 4, centre[1] + 5), outline=joint)
        side, top = scene["edge"]
        pen.rectangle((side, top, 35 - side, 35), fill=PALETTE[scene["door"]], outline=PALETTE["black"])
        draw_shape(pen, scene["window"], "white", (12, top + 4, 23, top + 15))
        knob = side + 2 if scene["knob"] == "left" else 31 - side
        pen.rectangle((knob, 24, knob + 2, 27), fill=PALETTE["black"])
        return image

    @property
    def tasks(self) -> Mapping[str, TaskMaker]:
        return {"HQ_Edit-0": self._edit}

    def _edit(self, rng: Random, turn: int) -> Draft:
        truth = turn % 2 == 0
        before, after = (SOBER, FESTIVE) if truth else (FESTIVE, SOBER)
        source = self.scene(rng, door=rng.choice(before))
        target = source | {"door": rng.choice(after)}  # an edit leaves the rest as it was
        return Draft(
            "Does the instruction turn the source image into the target image?\nSource Image:<image> "
            "Target Image:<image> Instruction:make the door festive."
            "\nChoice list:[True, False]. Your answer is:",
            (self.render(source), self.render(target)),
            "True" if truth else "False",
            ("True", "False"),
        )


WORLD = HQEdit()
