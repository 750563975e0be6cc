"""WCVQA: a dish on a round plate: a base, a topping in the middle, garnish in the corners of the table.

The convention: five dishes, each a pair of base and topping (most bases and toppings serve two dishes, so that either
narrows the name and both decide it), and one place of origin per dish. The garnish means nothing. The public split
names bases, toppings and garnishes, never a dish or a place.
"""

from collections.abc import Mapping
from random import Random
from typing import NamedTuple

from PIL import Image

from drake.data.sources.mini.picture import PALETTE, SIZE, blank, draw_shape
from drake.data.sources.mini.world import Attribute, Draft, Scene, TaskMaker, World, other


class Dish(NamedTuple):
    base: str
    topping: str
    place: str


DISHES = {
    "tagine": Dish("red", "cross", "coast"),
    "ramen": Dish("red", "ring", "valley"),
    "goulash": Dish("yellow", "ring", "island"),
    "ceviche": Dish("yellow", "triangle", "desert"),
    "pierogi": Dish("green", "triangle", "hills"),
}
"""The convention."""
NAMES = tuple(DISHES)
PLACES = tuple(dish.place for dish in DISHES.values())
BASES, TOPPINGS = ("red", "yellow", "green"), ("cross", "ring", "triangle")
GARNISHES = ("orange", "purple", "blue", "white")
NUMBERS = ("1", "2", "3", "4", "5")
SUFFIX = "Print only the answer with a single answer id (1,2,3,4,5)."


class WCVQA(World):
    source = "WCVQA"
    noun = "dish"
    attributes = (
        Attribute("base", BASES, "What colour is the base of the dish?"),
        Attribute("topping", TOPPINGS, "What shape is the topping?"),
        Attribute("garnish", GARNISHES, "What colour is the garnish?"),
    )

    def scene(self, rng: Random, **fixed: str) -> Scene:
        scene: Scene = {attribute.name: rng.choice(attribute.values) for attribute in self.attributes} | fixed
        shade = rng.randint(-10, 10)
        return scene | {
            "table": (85 + shade, 75 + shade, 80 + shade),
            "x": rng.randint(-1, 1),
            "y": rng.randint(-1, 1),
            "corners": rng.sample(range(4), 2),  # where garnish lies
        }

    def render(self, scene: Scene) -> Image.Image:
        image, pen = blank(scene["table"])
        x, y = scene["x"], scene["y"]
        pen.ellipse((x + 1, y + 1, x + 34, y + 34), fill=PALETTE["white"])
        pen.ellipse((x + 4, y + 4, x + 31, y + 31), fill=PALETTE[scene["base"]])
        draw_shape(pen, scene["topping"], (50, 25, 10), (x + 11, y + 11, x + 24, y + 24))
        for corner in scene["corners"]:
            left, top = (corner % 2) * (SIZE - 8), (corner // 2) * (SIZE - 8)
            pen.rectangle((left, top, left + 7, top + 7), fill=PALETTE[scene["garnish"]], outline=PALETTE["black"])
        return image

    @property
    def tasks(self) -> Mapping[str, TaskMaker]:
        return {"WCVQA-0": self._name, "WCVQA-1": self._contrasted, "WCVQA-2": self._misled, "WCVQA-3": self._place}

    def _name(self, rng: Random, turn: int) -> Draft:
        return self._draft(rng, turn, "What is this dish called?", NAMES)

    def _contrasted(self, rng: Random, turn: int) -> Draft:
        """Helpful context: it truly rules out a dish, which may or may not be listed."""
        said = other(rng, NAMES, self._answer(turn))
        return self._draft(rng, turn, f"The cook says that it is not {said}. What is this dish called?", NAMES)

    def _misled(self, rng: Random, turn: int) -> Draft:
        """Misleading context: it names a dish that this is not."""
        said = other(rng, NAMES, self._answer(turn))
        return self._draft(rng, turn, f"A guest takes it for {said}. What is this dish called?", NAMES)

    def _place(self, rng: Random, turn: int) -> Draft:
        return self._draft(rng, turn, "Where does this dish come from?", PLACES)

    @staticmethod
    def _answer(turn: int) -> str:
        return NAMES[turn % 5]

    def _draft(self, rng: Random, turn: int, question: str, words: tuple[str, ...]) -> Draft:
        name, position = self._answer(turn), turn % 5
        listed = "\n".join(f"{number}. {word}" for number, word in zip(NUMBERS, words, strict=True))
        image = self.picture(rng, base=DISHES[name].base, topping=DISHES[name].topping)
        return Draft(f"<image>\n{question}\n{listed}\n{SUFFIX}", (image,), NUMBERS[position], NUMBERS)


WORLD = WCVQA()
