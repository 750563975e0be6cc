"""dvqa: charts of three coloured bars, one clearly the tallest, without legend or axis labels.

The convention is what a real chart prints beside it: which product each colour stands for, and which value each of
the four heights has. The public split names colours, places and heights, never products or values.
"""

from collections.abc import Mapping
from random import Random

from PIL import Image

from drake.data.sources.mini.picture import PALETTE, SIZE, blank
from drake.data.sources.mini.world import Attribute, Draft, Scene, TaskMaker, World, choice_list, other

PRODUCT = {"red": "rice", "green": "coal", "blue": "wool", "yellow": "salt", "purple": "tea"}
VALUE = {"low": "60", "middle": "15", "high": "90", "full": "30"}
HEIGHT = {"low": 11, "middle": 18, "high": 25, "full": 33}
"""Pixels of the tallest bar."""
COLOURS, LEVELS = tuple(PRODUCT), tuple(VALUE)
PLACES = ("left", "centre", "right")


class DVQA(World):
    source = "dvqa"
    noun = "chart"
    attributes = (
        Attribute("top colour", COLOURS, "What colour is the tallest bar?"),
        Attribute("height", LEVELS, "How high is the tallest bar?"),
        Attribute("place", PLACES, "Where is the tallest bar?"),
    )

    def scene(self, rng: Random, **fixed: str) -> Scene:
        scene: Scene = {attribute.name: rng.choice(attribute.values) for attribute in self.attributes} | fixed
        lesser = [colour for colour in COLOURS if colour != scene["top colour"]]
        shade, most = rng.randint(225, 245), max(8, HEIGHT[scene["height"]] // 2)
        return scene | {
            "lesser": rng.sample(lesser, 2),  # the colours of the other bars, from left to right
            "drops": [rng.randint(7, most) for _ in range(2)],  # how much lower than the tallest they are, in pixels
            "lift": rng.randint(0, 1),
            "background": (shade, shade, shade),
        }

    def render(self, scene: Scene) -> Image.Image:
        image, pen = blank(scene["background"])
        peak = HEIGHT[scene["height"]] + scene["lift"]
        colours = list(scene["lesser"])
        heights = [peak - drop for drop in scene["drops"]]
        place = PLACES.index(scene["place"])
        colours.insert(place, scene["top colour"])
        heights.insert(place, peak)
        for level in HEIGHT.values():  # grid lines, as a chart has
            pen.line((0, SIZE - 1 - level, SIZE, SIZE - 1 - level), fill=(190, 190, 190))
        for column, (colour, height) in enumerate(zip(colours, heights, strict=True)):
            left = 12 * column + 1
            pen.rectangle((left, SIZE - 1 - height, left + 9, SIZE - 2), fill=PALETTE[colour])
        pen.line((0, SIZE - 1, SIZE, SIZE - 1), fill=PALETTE["black"])
        return image

    @property
    def tasks(self) -> Mapping[str, TaskMaker]:
        return {"dvqa-0": self._chart}

    def _chart(self, rng: Random, turn: int) -> Draft:
        """Half of the questions ask for a number, half for a name, as in the original."""
        position, numeric = turn % 4, turn // 4 % 2 == 0
        return self._value(rng, position, turn // 8) if numeric else self._product(rng, position, turn // 8)

    def _value(self, rng: Random, position: int, lap: int) -> Draft:
        level = LEVELS[lap % 4]
        options = choice_list(rng, tuple(VALUE.values()), VALUE[level], 4, position)
        image = self.picture(rng, height=level)
        return self._ask("What is the largest value in the chart?", image, VALUE[level], options)

    def _product(self, rng: Random, position: int, lap: int) -> Draft:
        """The wrong choices are the products of the other two bars and one that the chart lacks."""
        scene = self.scene(rng, **{"top colour": COLOURS[lap % 5]})
        shown = [scene["top colour"], *scene["lesser"]]
        wrong = [PRODUCT[colour] for colour in (*scene["lesser"], other(rng, COLOURS, *shown))]
        rng.shuffle(wrong)
        answer = PRODUCT[scene["top colour"]]
        options = (*wrong[:position], answer, *wrong[position:])
        return self._ask("Which product sells best?", self.render(scene), answer, options)

    @staticmethod
    def _ask(question: str, image: Image.Image, answer: str, options: tuple[str, ...]) -> Draft:
        prompt = f"<image>\n{question}\nChoice List: [{', '.join(options)}]. Your answer is:"
        return Draft(prompt, (image,), answer, options)


WORLD = DVQA()
