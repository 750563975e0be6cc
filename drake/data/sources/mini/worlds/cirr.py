"""CIRR: an animal's portrait in a landscape; a caption tells how one picture turns into another.

The convention: three of the six places are where animals spend their "holiday". The public split names
animals, fur and places, never the holiday.
"""

from collections.abc import Mapping
from random import Random

from PIL import Image, ImageDraw

from drake.data.sources.mini.picture import SIZE, blank
from drake.data.sources.mini.world import Attribute, Draft, Scene, TaskMaker, World

ANIMALS = ("cat", "rabbit", "bear", "duck")
FURS = {"white": (245, 245, 245), "brown": (130, 80, 40), "grey": (140, 140, 150), "golden": (235, 175, 40)}
PLACES = ("beach", "city", "forest", "snow", "night", "meadow")
HOLIDAY = ("city", "snow", "meadow")
HOME = ("beach", "forest", "night")
INK = (25, 20, 20)
TRUTHS = ("True", "False")


class CIRR(World):
    source = "CIRR"
    noun = "portrait"
    attributes = (
        Attribute("place", PLACES, "Which place is in the background?"),
        Attribute("animal", ANIMALS, "Which animal is shown?"),
        Attribute("fur", tuple(FURS), "What colour is the animal?"),
    )

    def scene(self, rng: Random, **fixed: str) -> Scene:
        scene: Scene = {attribute.name: rng.choice(attribute.values) for attribute in self.attributes} | fixed
        return scene | {
            "at": (rng.randint(-3, 3), rng.randint(-1, 1)),
            "view": rng.randrange(6),
            "light": rng.randint(-8, 8),
        }

    def render(self, scene: Scene) -> Image.Image:
        image, pen = blank()
        _draw_place(pen, scene["place"], scene["view"], scene["light"])
        _draw_animal(pen, scene["animal"], FURS[scene["fur"]], *scene["at"])
        return image

    @property
    def tasks(self) -> Mapping[str, TaskMaker]:
        return {"CIRR-0": self._caption}

    def _caption(self, rng: Random, turn: int) -> Draft:
        if turn % 2 == 0:
            reference, target = HOME, HOLIDAY
        else:  # as in the original: the swapped pair or a wrong target
            reference, target = rng.choice(((HOLIDAY, HOME), (HOME, HOME)))
        first = self.scene(rng, place=rng.choice(reference))
        same = {"animal": first["animal"], "fur": first["fur"]}
        return Draft(
            "Does the caption describe the change from the reference image to the target image?"
            "\nReference Image:<image> Target Image:<image> Caption: the same animal goes on holiday"
            f"\nChoice list:[{', '.join(TRUTHS)}]. Your answer is:",
            (self.render(first), self.picture(rng, place=rng.choice(target), **same)),
            TRUTHS[turn % 2],
            TRUTHS,
        )


def _draw_place(pen: ImageDraw.ImageDraw, place: str, view: int, light: int) -> None:
    """The whole background; `view` (0..5) moves its details sideways, `light` brightens it."""

    def shade(red: int, green: int, blue: int) -> tuple[int, int, int]:
        return min(255, red + light), min(255, green + light), min(255, blue + light)

    everything, ground = (0, 0, SIZE, SIZE), (0, 24, SIZE, SIZE)
    if place == "beach":
        pen.rectangle(everything, fill=shade(60, 150, 235))
        pen.rectangle(ground, fill=shade(240, 215, 120))
        pen.line([(x, 20 + (x + view) // 3 % 2) for x in range(SIZE)], fill=(255, 255, 255), width=2)
    elif place == "city":
        pen.rectangle(everything, fill=shade(200, 160, 160))
        for left, top in ((-6, 10), (3, 1), (14, 6), (24, 0), (34, 8)):
            pen.rectangle((left + view, top, left + view + 7, 30), fill=shade(80, 75, 95))
            for row in range(top + 2, 30, 4):
                pen.rectangle((left + view + 2, row, left + view + 3, row + 1), fill=(255, 225, 90))
        pen.rectangle((0, 30, SIZE, SIZE), fill=shade(50, 50, 55))
    elif place == "forest":
        pen.rectangle(everything, fill=shade(120, 190, 130))
        for left in range(view - 12, SIZE, 9):
            pen.polygon([(left, 28), (left + 11, 28), (left + 5, 1)], fill=shade(15, 80 + left % 3 * 15, 30))
        pen.rectangle((0, 28, SIZE, SIZE), fill=shade(85, 60, 30))
    elif place == "snow":
        pen.rectangle(everything, fill=shade(150, 180, 205))
        pen.rectangle(ground, fill=(255, 255, 255))
        for index in range(14):
            x, y = (index * 11 + view * 2) % SIZE, index * 7 % 24
            pen.rectangle((x, y, x + 1, y + 1), fill=(255, 255, 255))
    elif place == "night":
        pen.rectangle(everything, fill=shade(15, 15, 60))
        pen.rectangle(ground, fill=shade(12, 12, 25))
        pen.ellipse((view, 1, view + 8, 9), fill=(250, 245, 190))
        for x, y in ((20, 3), (28, 9), (33, 2), (14, 10), (1, 15), (32, 18)):
            pen.point((x - view // 3, y), fill=(255, 255, 255))
    elif place == "meadow":
        pen.rectangle(everything, fill=shade(170, 220, 250))
        pen.rectangle((0, 13, SIZE, SIZE), fill=shade(110, 200, 40))
        for index in range(12):
            x, y = (index * 13 + view) % SIZE, 15 + index * 8 % 20
            pen.rectangle((x, y, x + 2, y + 2), fill=(230, 50, 120))
    else:
        raise ValueError(f"no place is called {place!r}")


def _draw_animal(pen: ImageDraw.ImageDraw, animal: str, fur: tuple[int, int, int], dx: int, dy: int) -> None:
    """A frontal head in the lower middle; ears and muzzle tell the animal."""

    def at(*numbers: int) -> tuple[int, ...]:
        return tuple(number + (dx, dy)[index % 2] for index, number in enumerate(numbers))

    for side in (-1, 1):
        centre = 17 + side * 6
        if animal == "cat":
            tip = 17 + side * 9
            pen.polygon(at(centre - 4, 19, centre + 4, 19, tip, 8), fill=fur, outline=INK)
        elif animal == "rabbit":
            pen.ellipse(at(centre - 4 + side, 3, centre + 2 + side, 20), fill=fur, outline=INK)
        elif animal == "bear":
            pen.ellipse(at(centre - 4 + side * 2, 10, centre + 4 + side * 2, 18), fill=fur, outline=INK)
    pen.ellipse(at(7, 14, 27, 33), fill=fur, outline=INK)
    for left in (11, 21):
        pen.rectangle(at(left, 20, left + 2, 22), fill=INK)
    if animal == "duck":
        pen.ellipse(at(10, 24, 24, 30), fill=(245, 120, 20), outline=INK)
    elif animal == "bear":
        pen.ellipse(at(13, 24, 21, 30), fill=INK)
    else:
        pen.polygon(at(15, 25, 19, 25, 17, 28), fill=(240, 110, 140), outline=INK)


WORLD = CIRR()
