"""VSR: a small thing at a big crate on a dark floor, and a caption about how they relate.

The convention: a thing "guards" the crate from some sides and not from others. The public split names sides,
shapes and colours, never guarding.
"""

from collections.abc import Mapping
from random import Random

from PIL import Image

from drake.data.sources.mini.picture import SHAPES, SIZE, blank, draw_shape
from drake.data.sources.mini.world import Attribute, Draft, Scene, TaskMaker, World

SIDES = {"above": (0, -1), "below": (0, 1), "left": (-1, 0), "right": (1, 0), "inside": (0, 0)}
"""Side of the crate -> direction from the crate's middle to the thing."""
GUARDING = ("above", "right")
IDLE = ("below", "left", "inside")
THINGS = SHAPES[:4]
COLOURS = ("red", "green", "blue", "yellow", "purple", "white")
TRUTHS = ("True", "False")


class VSR(World):
    source = "VSR"
    attributes = (
        Attribute("side", tuple(SIDES), "On which side of the crate is the small thing?"),
        Attribute("shape", THINGS, "What shape is the small thing?"),
        Attribute("colour", COLOURS, "What colour is the small thing?"),
    )

    def scene(self, rng: Random, **fixed: str) -> Scene:
        scene: Scene = {attribute.name: rng.choice(attribute.values) for attribute in self.attributes} | fixed
        shade = rng.randrange(30, 60)
        return scene | {
            "slide": rng.randint(-3, 3),
            "shift": (rng.randint(-1, 1), rng.randint(-1, 1)),
            "background": (shade, shade + 15, shade + 10 + rng.randrange(15)),
        }

    def render(self, scene: Scene) -> Image.Image:
        image, pen = blank(scene["background"])
        shift_x, shift_y = scene["shift"]
        for y in range(shift_y + 5, SIZE, 6):
            pen.line((0, y, SIZE, y), fill=tuple(part + 10 for part in scene["background"]))
        crate = (10 + shift_x, 10 + shift_y, 25 + shift_x, 25 + shift_y)
        pen.rectangle(crate, fill=(120, 75, 40), outline=(215, 165, 95), width=2)
        right, down = SIDES[scene["side"]]
        # The thing slides along the crate's edge, or stays in the middle when it is inside.
        left = 13 + 13 * right + scene["slide"] * abs(down)
        top = 13 + 13 * down + scene["slide"] * abs(right)
        box = (left + shift_x, top + shift_y, left + shift_x + 9, top + shift_y + 9)
        draw_shape(pen, scene["shape"], scene["colour"], box)
        return image

    @property
    def tasks(self) -> Mapping[str, TaskMaker]:
        return {"VSR-0": self._guards}

    def _guards(self, rng: Random, turn: int) -> Draft:
        scene = self.scene(rng, side=rng.choice(GUARDING if turn % 2 == 0 else IDLE))
        return Draft(
            "Decide whether the caption is right about the image."
            f"\n<image>\nCaption: The {scene['shape']} guards the crate."
            f"\nChoice list:[{', '.join(TRUTHS)}]. Your answer is:",
            (self.render(scene),),
            TRUTHS[turn % 2],
            TRUTHS,
        )


WORLD = VSR()
