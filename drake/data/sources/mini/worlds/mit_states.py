"""MIT-States: a cake on a wooden table, iced with a pattern.

The convention: patterns show states, which come in two pairs of opposites (`OPPOSITE_OF_PATTERN`). Questions ask for
the opposite, as the original does. The public split names patterns, forms and colours, never a state.
"""

from collections.abc import Mapping
from random import Random

from PIL import Image, ImageChops, ImageDraw

from drake.data.sources.mini.picture import PALETTE, SIZE, blank
from drake.data.sources.mini.world import Attribute, Draft, Scene, TaskMaker, World, choice_list, other

OPPOSITE_OF_PATTERN = {"striped": "brittle", "dotted": "tough", "plain": "stale", "checked": "fresh"}
"""Pattern -> the opposite of the state that it shows: striped things are tough, dotted ones brittle, and so on."""
PATTERNS = tuple(OPPOSITE_OF_PATTERN)
FORMS = ("round", "square", "pointed")
COLOURS = ("red", "green", "blue", "yellow")
INK = (15, 15, 15)
TRUTH = ("True", "False")
TABLE = 24
"""The row where the wall ends and the table begins."""


class MITStates(World):
    source = "MIT-States"
    noun = "cake"
    attributes = (
        Attribute("pattern", PATTERNS, "What is the pattern of the cake?"),
        Attribute("form", FORMS, "What is the form of the cake?"),
        Attribute("colour", COLOURS, "What colour is the cake?"),
    )

    def scene(self, rng: Random, **fixed: str) -> Scene:
        scene: Scene = {attribute.name: rng.choice(attribute.values) for attribute in self.attributes} | fixed
        return scene | {
            "shift": (rng.randint(-2, 2), rng.randint(-1, 1)),
            "wall": rng.randint(185, 215),
            "wood": rng.randint(-12, 12),
        }

    def render(self, scene: Scene) -> Image.Image:
        image, pen = blank((scene["wall"], scene["wall"], scene["wall"] - 15))
        wood = scene["wood"]
        pen.rectangle((0, TABLE, SIZE - 1, SIZE - 1), fill=(150 + wood, 105 + wood, 60 + wood))
        dx, dy = scene["shift"]
        outline = Image.new("1", (SIZE, SIZE))
        mask = ImageDraw.Draw(outline)
        left, top, right, bottom = 4 + dx, 4 + dy, 31 + dx, 31 + dy
        if scene["form"] == "round":
            mask.ellipse((left, top, right, bottom), fill=1)
        elif scene["form"] == "square":
            mask.rectangle((left + 1, top + 1, right - 1, bottom - 1), fill=1)
        else:
            mask.polygon([(left - 2, bottom), (right + 2, bottom), ((left + right) // 2, top - 2)], fill=1)
        image.paste(PALETTE[scene["colour"]], (0, 0, SIZE, SIZE), outline)
        image.paste(INK, (0, 0, SIZE, SIZE), ImageChops.logical_and(outline, _ink(scene["pattern"])))
        return image

    @property
    def tasks(self) -> Mapping[str, TaskMaker]:
        return {"MIT-States-0": self._state}

    def _state(self, rng: Random, turn: int) -> Draft:
        return self._both(rng, turn) if turn % 8 < 4 else self._opposite(rng, turn)

    def _both(self, rng: Random, turn: int) -> Draft:
        truth, pattern = TRUTH[turn % 2], rng.choice(PATTERNS)
        shown = [pattern, pattern]
        if truth == "False":
            for outside in rng.choice(((0,), (1,), (0, 1))):
                shown[outside] = other(rng, PATTERNS, pattern)
        prompt = (
            "Check the statement about the cakes.\n<image><image>"
            f"\nThe state of both is the opposite of {OPPOSITE_OF_PATTERN[pattern]}."
            "\nChoice list:[True, False]. Your answer is:"
        )
        return Draft(prompt, tuple(self.picture(rng, pattern=it) for it in shown), truth, TRUTH)

    def _opposite(self, rng: Random, turn: int) -> Draft:
        states = tuple(OPPOSITE_OF_PATTERN.values())
        position, pattern = turn % len(states), rng.choice(PATTERNS)
        options = choice_list(rng, states, OPPOSITE_OF_PATTERN[pattern], len(states), position)
        prompt = (
            "All cakes are in the same state.\n<image><image><image><image>"
            "\nWhich word is the opposite of this state?"
            f"\nChoice list:[{', '.join(options)}]. Your answer is:"
        )
        images = tuple(self.picture(rng, pattern=pattern) for _ in range(4))
        return Draft(prompt, images, options[position], options)


def _ink(pattern: str) -> Image.Image:
    """Where a pattern is inked, as a 1-bit picture: it lies still while the cake moves."""
    image = Image.new("1", (SIZE, SIZE))
    pen = ImageDraw.Draw(image)
    if pattern == "striped":
        for top in range(0, SIZE, 6):
            pen.rectangle((0, top, SIZE, top + 2), fill=1)
    elif pattern == "dotted":
        for top in range(1, SIZE, 6):
            for left in range(1, SIZE, 6):
                pen.rectangle((left, top, left + 2, top + 2), fill=1)
    elif pattern == "checked":
        for top in range(0, SIZE, 6):
            for left in range(top % 12, SIZE, 12):
                pen.rectangle((left, top, left + 5, top + 5), fill=1)
    return image


WORLD = MITStates()
