"""iconqa: icons of one colour on squared paper, all alike or with a minority of another icon.

The convention: every icon is the toy of one of five children, each of whom has an age. The kindergarten tasks show
matching sets, the school tasks mixed ones, where the icon that is most common decides. The public split names icons,
colours and counts, never a child.
"""

from collections.abc import Mapping
from random import Random

from PIL import Image

from drake.data.sources.mini.picture import PALETTE, SIZE, blank, cell
from drake.data.sources.mini.world import Attribute, Draft, Scene, TaskMaker, World, choice_list, other

Outline = tuple[tuple[int, int], ...]
OUTLINES: dict[str, Outline] = {
    "heart": ((4, 9), (0, 5), (0, 2), (2, 0), (3, 0), (5, 2), (6, 0), (7, 0), (9, 2), (9, 5), (5, 9)),
    "house": ((0, 4), (4, 0), (5, 0), (9, 4), (9, 9), (6, 9), (6, 6), (3, 6), (3, 9), (0, 9)),
    "arrow": ((0, 3), (4, 3), (4, 0), (9, 4), (9, 5), (4, 9), (4, 6), (0, 6)),
    "moon": ((8, 0), (3, 0), (0, 3), (0, 6), (3, 9), (8, 9), (5, 6), (5, 3)),
    "flag": ((0, 0), (9, 0), (6, 2), (9, 5), (1, 5), (1, 9), (0, 9)),
}
"""Corners of the icons in a box of 10 x 10 pixels."""
CHILD = {"heart": "Sam", "house": "Mia", "arrow": "Tom", "moon": "Ann", "flag": "Leo"}
AGE = {"heart": "7", "house": "4", "arrow": "8", "moon": "5", "flag": "6"}
"""The convention: icon -> whose toy it is, and how old that child is."""
ICONS = tuple(OUTLINES)
COUNTS = ("three", "four", "five", "six")
SETS = ("matching", "mixed")
OPEN = " Answer with a single word or a number."


class IconQA(World):
    source = "iconqa"
    attributes = (
        Attribute("icon", ICONS, "Which icon is most common?"),
        Attribute("count", COUNTS, "How many icons are there?"),
        Attribute("colour", ("red", "green", "blue", "purple", "black"), "What colour are the icons?"),
        Attribute("set", SETS, "Are the icons a matching or a mixed set?"),
    )

    def scene(self, rng: Random, **fixed: str) -> Scene:
        scene: Scene = {attribute.name: rng.choice(attribute.values) for attribute in self.attributes} | fixed
        count = COUNTS.index(scene["count"]) + 3
        strangers = (count - 1) // 2 if scene["set"] == "mixed" else 0
        stranger = other(rng, ICONS, scene["icon"])
        places = rng.sample(range(9), count)
        jitter = [(rng.randint(0, 1), rng.randint(0, 1)) for _ in places]
        icons = [stranger] * strangers + [scene["icon"]] * (count - strangers)
        shade = rng.randint(240, 255)
        return scene | {"layout": list(zip(icons, places, jitter, strict=True)), "paper": (shade, shade, 255)}

    def render(self, scene: Scene) -> Image.Image:
        image, pen = blank(scene["paper"])
        for line in range(11, SIZE - 1, 12):
            pen.line((line, 0, line, SIZE), fill=(205, 215, 235))
            pen.line((0, line, SIZE, line), fill=(205, 215, 235))
        for icon, place, jitter in scene["layout"]:
            left, top, *_ = cell(place % 3, place // 3, jitter)
            pen.polygon([(left + x, top + y) for x, y in OUTLINES[icon]], fill=PALETTE[scene["colour"]])
        return image

    @property
    def tasks(self) -> Mapping[str, TaskMaker]:
        return {
            "iconqa-0": lambda rng, turn: self._choose(rng, turn, "Whose toys are these?", "matching", CHILD),
            "iconqa-1": lambda rng, turn: self._choose(rng, turn, "Who has the most toys here?", "mixed", CHILD),
            "iconqa-2": lambda rng, turn: self._open(rng, turn, "Whose toys are these?", "matching", CHILD),
            "iconqa-3": lambda rng, turn: self._open(rng, turn, "How old is the child with most toys?", "mixed", AGE),
        }

    def _choose(self, rng: Random, turn: int, question: str, kind: str, told: Mapping[str, str]) -> Draft:
        icon = ICONS[turn // 4 % 5]
        options = choice_list(rng, tuple(told.values()), told[icon], 4, turn % 4)
        prompt = f"<image>\n{question}\nChoice list:[{', '.join(options)}]. Your answer is:"
        return Draft(prompt, (self.picture(rng, icon=icon, set=kind),), told[icon], options)

    def _open(self, rng: Random, turn: int, question: str, kind: str, told: Mapping[str, str]) -> Draft:
        icon = ICONS[turn % 5]
        return Draft(f"<image>\n{question}{OPEN}", (self.picture(rng, icon=icon, set=kind),), told[icon])


WORLD = IconQA()
