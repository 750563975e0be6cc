"""Fashion200K: one catalogue garment per picture on a light background, to be counted or judged as a set.

The convention: three of the six colours are "festive". The public split names garments, colours and patterns,
never what is festive.
"""

from collections.abc import Mapping
from random import Random

from PIL import Image, ImageDraw

from drake.data.sources.mini.picture import PALETTE, SIZE, blank
from drake.data.sources.mini.world import Attribute, Draft, Scene, TaskMaker, World

COLOURS = ("red", "green", "blue", "yellow", "purple", "black")
FESTIVE = ("blue", "yellow", "purple")
SOBER = ("red", "green", "black")
PATTERNS = ("plain", "striped", "dotted", "checked")
OUTLINES = {
    "shirt": ((12, 4), (24, 4), (33, 12), (29, 19), (25, 16), (25, 31), (11, 31), (11, 16), (7, 19), (3, 12)),
    "dress": ((12, 3), (15, 3), (18, 8), (21, 3), (24, 3), (22, 14), (31, 33), (5, 33), (14, 14)),
    "trousers": ((9, 3), (27, 3), (31, 33), (22, 33), (18, 13), (14, 33), (5, 33)),
    "skirt": ((12, 9), (24, 9), (33, 28), (3, 28)),
}
COUNTS = ("0", "1", "2", "3")
TRUTHS = ("True", "False")


class Fashion200K(World):
    source = "Fashion200K"
    noun = "garment"
    attributes = (
        Attribute("garment", tuple(OUTLINES), "What kind of garment is this?"),
        Attribute("colour", COLOURS, "What colour is the garment?"),
        Attribute("pattern", PATTERNS, "What pattern does the garment have?"),
    )

    def scene(self, rng: Random, **fixed: str) -> Scene:
        scene: Scene = {attribute.name: rng.choice(attribute.values) for attribute in self.attributes} | fixed
        shade = rng.randrange(222, 248)
        return scene | {
            "place": (rng.randint(-2, 2), rng.randint(-2, 2)),
            "phase": rng.randrange(3),
            "background": (shade, shade, shade - rng.randrange(8)),
        }

    def render(self, scene: Scene) -> Image.Image:
        image, pen = blank(scene["background"])
        dx, dy = scene["place"]
        outline = [(x + dx, y + dy) for x, y in OUTLINES[scene["garment"]]]
        mask = Image.new("1", (SIZE, SIZE))
        ImageDraw.Draw(mask).polygon(outline, fill=1)
        image.paste(_fabric(scene["colour"], scene["pattern"], scene["phase"]), (0, 0), mask)
        pen.line([*outline, outline[0]], fill=(60, 60, 60))
        return image

    @property
    def tasks(self) -> Mapping[str, TaskMaker]:
        return {"Fashion200K-0": self._count, "Fashion200K-1": self._style, "Fashion200K-2": self._colour}

    def _count(self, rng: Random, turn: int) -> Draft:
        count = turn % len(COUNTS)
        return Draft(
            f"How many of the five garments are festive?\n{'<image>' * 5}"
            f"\nChoice list:[{', '.join(COUNTS)}]. Your answer is:",
            self._garments(rng, 5, count),
            COUNTS[count],
            COUNTS,
        )

    def _style(self, rng: Random, turn: int) -> Draft:
        return self._all_festive(rng, turn, 3, "All three garments have a festive style.")

    def _colour(self, rng: Random, turn: int) -> Draft:
        return self._all_festive(rng, turn, 4, "All four garments have a festive colour.")

    def _all_festive(self, rng: Random, turn: int, count: int, statement: str) -> Draft:
        # A false record holds 1 to `count` sober garments: the easy ones show early what a colour means.
        festive = count if turn % 2 == 0 else rng.randrange(count)
        return Draft(
            f"Check whether the statement holds for the images.\n{'<image>' * count}\nStatement: {statement}"
            f"\nChoice list:[{', '.join(TRUTHS)}]. Your answer is:",
            self._garments(rng, count, festive),
            TRUTHS[turn % 2],
            TRUTHS,
        )

    def _garments(self, rng: Random, count: int, festive: int) -> tuple[Image.Image, ...]:
        """`count` pictures in random order, `festive` of them in festive colours."""
        groups = [FESTIVE] * festive + [SOBER] * (count - festive)
        rng.shuffle(groups)
        return tuple(self.picture(rng, colour=rng.choice(group)) for group in groups)


def _fabric(colour: str, pattern: str, phase: int) -> Image.Image:
    """A full picture of cloth; the pattern is a paler tint, so that the colour keeps its name."""
    base = PALETTE[colour]
    tint = tuple((3 * part + 5 * 255) // 8 for part in base)
    image, pen = blank(base)
    if pattern == "striped":
        for top in range(phase, SIZE, 6):
            pen.rectangle((0, top, SIZE, top + 2), fill=tint)
    elif pattern == "dotted":
        for row, top in enumerate(range(phase - 3, SIZE, 6)):
            for left in range(phase - 3 + row % 2 * 4, SIZE, 8):
                pen.rectangle((left, top, left + 2, top + 2), fill=tint)
    elif pattern == "checked":
        for row, top in enumerate(range(phase - 5, SIZE, 5)):
            for left in range(phase - 5 + row % 2 * 5, SIZE, 10):
                pen.rectangle((left, top, left + 4, top + 4), fill=tint)
    return image


WORLD = Fashion200K()
