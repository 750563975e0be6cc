"""DreamSim: one big thing on a plain ground; which of two pictures is more like the reference between them?

The convention: likeness is a matter of mood. References are in a calm colour, and so is the picture that counts as
alike, in another; the third is in a loud one. The thing is no guide: one of the two shows the reference's thing, either
equally often.
"""

from collections.abc import Mapping
from random import Random

from PIL import Image, ImageDraw

from drake.data.sources.mini.picture import PALETTE, blank
from drake.data.sources.mini.world import Attribute, Draft, Scene, TaskMaker, World, other

CALM = ("green", "yellow", "purple")
LOUD = ("red", "blue", "orange")
COLOURS = (*CALM, *LOUD)
THINGS = ("leaf", "fish", "flower", "cup", "key", "house")
GROUNDS = {"white": (244, 244, 244), "grey": (168, 168, 168), "black": (34, 34, 34)}
IMAGES = ("Image A", "Image B")


class DreamSim(World):
    source = "DreamSim"
    noun = "thing"
    attributes = (
        Attribute("thing", THINGS, "Which thing does the picture show?"),
        Attribute("colour", COLOURS, "What colour is the thing?"),
        Attribute("ground", tuple(GROUNDS), "What colour is the ground?"),
    )

    def scene(self, rng: Random, **fixed: str) -> Scene:
        scene: Scene = {attribute.name: rng.choice(attribute.values) for attribute in self.attributes} | fixed
        return scene | {"place": (rng.randint(-2, 2), rng.randint(-2, 2)), "shade": rng.randrange(-10, 11)}

    def render(self, scene: Scene) -> Image.Image:
        ground = tuple(channel + scene["shade"] for channel in GROUNDS[scene["ground"]])
        image, pen = blank(ground)
        _DRAWINGS[scene["thing"]](pen, PALETTE[scene["colour"]], ground, *scene["place"])
        return image

    @property
    def tasks(self) -> Mapping[str, TaskMaker]:
        return {"DreamSim-0": self._more_alike}

    def _more_alike(self, rng: Random, turn: int) -> Draft:
        reference, alike = rng.sample(CALM, 2)
        thing = rng.choice(THINGS)
        things = [thing, other(rng, THINGS, thing)]
        rng.shuffle(things)
        pair = [
            self.picture(rng, colour=alike, thing=things[0]),
            self.picture(rng, colour=rng.choice(LOUD), thing=things[1]),
        ]
        left, right = pair if turn % 2 == 0 else reversed(pair)
        return Draft(
            "Which image is more like the reference image?\nImage A:<image> Ref Image:<image> Image B:<image>"
            f"\nChoice list:[{', '.join(IMAGES)}]. Your answer is:",
            (left, self.picture(rng, colour=reference, thing=thing), right),
            IMAGES[turn % 2],
            IMAGES,
        )


_Colour = tuple[int, ...]


def _leaf(pen: ImageDraw.ImageDraw, fill: _Colour, ground: _Colour, x: int, y: int) -> None:
    outline = [(18, 3), (27, 11), (27, 19), (18, 28), (9, 19), (9, 11)]
    pen.polygon([(x + left, y + top) for left, top in outline], fill=fill)
    pen.line((x + 18, y + 8, x + 18, y + 33), fill=(120, 80, 50), width=2)


def _fish(pen: ImageDraw.ImageDraw, fill: _Colour, ground: _Colour, x: int, y: int) -> None:
    pen.ellipse((x + 3, y + 10, x + 25, y + 26), fill=fill)
    pen.polygon([(x + 22, y + 18), (x + 33, y + 9), (x + 33, y + 27)], fill=fill)
    pen.ellipse((x + 7, y + 14, x + 10, y + 17), fill=ground)


def _flower(pen: ImageDraw.ImageDraw, fill: _Colour, ground: _Colour, x: int, y: int) -> None:
    for left, top in ((12, 3), (12, 21), (3, 12), (21, 12)):
        pen.ellipse((x + left, y + top, x + left + 11, y + top + 11), fill=fill)
    pen.ellipse((x + 13, y + 13, x + 22, y + 22), fill=(120, 80, 50))


def _cup(pen: ImageDraw.ImageDraw, fill: _Colour, ground: _Colour, x: int, y: int) -> None:
    pen.ellipse((x + 18, y + 10, x + 32, y + 24), outline=fill, width=3)
    pen.rectangle((x + 4, y + 7, x + 24, y + 30), fill=fill)


def _key(pen: ImageDraw.ImageDraw, fill: _Colour, ground: _Colour, x: int, y: int) -> None:
    pen.ellipse((x + 3, y + 10, x + 17, y + 24), outline=fill, width=4)
    pen.rectangle((x + 16, y + 15, x + 33, y + 19), fill=fill)
    for left in (24, 30):
        pen.rectangle((x + left, y + 19, x + left + 3, y + 26), fill=fill)


def _house(pen: ImageDraw.ImageDraw, fill: _Colour, ground: _Colour, x: int, y: int) -> None:
    pen.polygon([(x + 3, y + 16), (x + 33, y + 16), (x + 18, y + 3)], fill=fill)
    pen.rectangle((x + 7, y + 16, x + 29, y + 32), fill=fill)
    pen.rectangle((x + 15, y + 21, x + 21, y + 32), fill=ground)


_DRAWINGS = {"leaf": _leaf, "fish": _fish, "flower": _flower, "cup": _cup, "key": _key, "house": _house}


WORLD = DreamSim()
