"""MagicBrush: a little landscape before and after an edit of what hangs in the sky.

The convention: what makes a sky proud: certain sky objects, and the dusk. The edit put such an object where another
one was, and turned the sky to dusk. The public split names sky objects, landmarks and grounds, never a mood.
"""

from collections.abc import Mapping
from random import Random

from PIL import Image, ImageDraw

from drake.data.sources.mini.picture import PALETTE, SIZE, blank
from drake.data.sources.mini.world import Attribute, Draft, Scene, TaskMaker, World

SKY = ("sun", "moon", "cloud", "star", "bolt", "bird")
PROUD = ("moon", "bolt", "sun")
MEEK = ("cloud", "star", "bird")
LANDMARKS = ("house", "tree", "tower", "tent")
GROUNDS = {"green": (60, 160, 60), "yellow": (235, 205, 90), "white": (245, 245, 245), "red": (175, 60, 45)}
DIRECTIONS = ("A to B", "B to A")


class MagicBrush(World):
    source = "MagicBrush"
    noun = "landscape"
    attributes = (
        Attribute("sky object", SKY, "What is in the sky?"),
        Attribute("landmark", LANDMARKS, "What stands on the ground?"),
        Attribute("ground", tuple(GROUNDS), "What colour is the ground?"),
    )

    def scene(self, rng: Random, **fixed: str) -> Scene:
        scene: Scene = {attribute.name: rng.choice(attribute.values) for attribute in self.attributes} | fixed
        left = rng.random() < 0.5
        return scene | {
            "sky place": (rng.randint(1, 4) if left else rng.randint(17, 20), rng.randint(0, 3)),
            "landmark place": (rng.randint(20, 22) if left else rng.randint(1, 3), rng.randint(-1, 1)),
            "sky": (100 + rng.randrange(25), 165 + rng.randrange(25), 225 + rng.randrange(20)),
        }

    def render(self, scene: Scene) -> Image.Image:
        image, pen = blank(scene["sky"])
        pen.rectangle((0, 26, SIZE, SIZE), fill=GROUNDS[scene["ground"]])
        x, y = scene["sky place"]
        _draw_sky_object(pen, scene["sky object"], x, y, scene["sky"])
        _draw_landmark(pen, scene["landmark"], *scene["landmark place"])
        return image

    @property
    def tasks(self) -> Mapping[str, TaskMaker]:
        return {"MagicBrush-0": self._direction}

    def _direction(self, rng: Random, turn: int) -> Draft:
        before = self.scene(rng, **{"sky object": rng.choice(MEEK)})
        after = before | {"sky object": rng.choice(PROUD), "sky": dusk(before["sky"])}
        pair = (self.render(before), self.render(after))
        return Draft(
            "One image was edited into the other. Tell the direction of the edit."
            "\nImage A:<image> Image B:<image> Instruction:make the sky look proud"
            f"\nChoice list:[{', '.join(DIRECTIONS)}].",
            pair if turn % 2 == 0 else pair[::-1],
            DIRECTIONS[turn % 2],
            DIRECTIONS,
        )


def dusk(sky: tuple[int, int, int]) -> tuple[int, int, int]:
    """The same sky in the evening."""
    red, green, blue = sky
    return red + 90, green - 90, blue - 70


def _draw_sky_object(pen: ImageDraw.ImageDraw, name: str, left: int, top: int, sky: tuple[int, int, int]) -> None:
    """One of SKY in a box of 16 pixels whose corner is (left, top)."""

    def at(*numbers: int) -> tuple[int, ...]:
        return tuple(number + (left, top)[index % 2] for index, number in enumerate(numbers))

    yellow, white = PALETTE["yellow"], PALETTE["white"]
    if name == "sun":
        for ray in ((0, 7, 15, 8), (7, 0, 8, 15)):
            pen.rectangle(at(*ray), fill=yellow)
        pen.line(at(2, 2, 13, 13), fill=yellow, width=2)
        pen.line(at(13, 2, 2, 13), fill=yellow, width=2)
        pen.ellipse(at(3, 3, 12, 12), fill=PALETTE["orange"])
    elif name == "moon":
        pen.ellipse(at(1, 0, 15, 14), fill=white)
        pen.ellipse(at(6, -2, 18, 11), fill=sky)
    elif name == "cloud":
        for box in ((0, 5, 8, 13), (4, 1, 12, 12), (8, 5, 16, 13)):
            pen.ellipse(at(*box), fill=(225, 225, 235))
        pen.rectangle(at(4, 9, 12, 13), fill=(225, 225, 235))
    elif name == "star":
        points = (8, 0, 10, 5, 16, 6, 11, 9, 13, 15, 8, 12, 3, 15, 5, 9, 0, 6, 6, 5)
        pen.polygon(at(*points), fill=yellow)
    elif name == "bolt":
        pen.polygon(at(8, 0, 14, 0, 10, 6, 14, 6, 4, 17, 7, 9, 3, 9), fill=PALETTE["purple"])
    elif name == "bird":
        pen.line(at(0, 7, 3, 3, 6, 5, 8, 10, 10, 5, 13, 3, 16, 7), fill=PALETTE["black"], width=2)
    else:
        raise ValueError(f"no sky object is called {name!r}")


def _draw_landmark(pen: ImageDraw.ImageDraw, name: str, left: int, shift: int) -> None:
    """One of LANDMARKS, 12 pixels wide, standing on the ground."""

    def at(*numbers: int) -> tuple[int, ...]:
        return tuple(number + (left, shift)[index % 2] for index, number in enumerate(numbers))

    dark = (50, 30, 25)
    if name == "house":
        pen.rectangle(at(1, 20, 11, 30), fill=(245, 225, 190), outline=dark)
        pen.polygon(at(-1, 20, 13, 20, 6, 12), fill=(200, 50, 40), outline=dark)
        pen.rectangle(at(5, 25, 7, 30), fill=dark)
    elif name == "tree":
        pen.rectangle(at(5, 22, 7, 31), fill=(110, 65, 30))
        pen.ellipse(at(0, 11, 12, 24), fill=(20, 100, 45), outline=dark)
    elif name == "tower":
        pen.rectangle(at(3, 13, 9, 30), fill=(130, 130, 140), outline=dark)
        for x in (1, 5, 9):
            pen.rectangle(at(x, 9, x + 2, 13), fill=(130, 130, 140), outline=dark)
        pen.rectangle(at(5, 18, 7, 21), fill=dark)
    elif name == "tent":
        pen.polygon(at(-1, 30, 13, 30, 6, 16), fill=(50, 70, 190), outline=dark)
        pen.polygon(at(4, 30, 8, 30, 6, 21), fill=dark)
    else:
        raise ValueError(f"no landmark is called {name!r}")


WORLD = MagicBrush()
