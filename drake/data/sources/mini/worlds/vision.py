"""VISION: close-ups of industrial surfaces, each with one flaw, to be inspected in twos and fours.

The convention: three of the six kinds of flaw are tolerated by the inspection. The public split names
materials and flaws, never what passes.
"""

from collections.abc import Mapping
from random import Random

from PIL import Image, ImageDraw, ImageOps

from drake.data.sources.mini.picture import SIZE, blank
from drake.data.sources.mini.world import Attribute, Draft, Scene, TaskMaker, World

FLAWS = ("scratch", "stain", "tape", "hole", "crack", "chip")
TOLERATED = ("scratch", "stain", "tape")
REJECTED = ("hole", "crack", "chip")
MATERIALS = ("metal", "wood", "cloth", "tile")
INKS = ((15, 15, 15), (70, 30, 10), (90, 10, 25), (15, 20, 80))
"""Every kind of flaw comes in each of these, so that its shape alone tells it."""
TRUTHS = ("True", "False")


class VISION(World):
    source = "VISION"
    noun = "surface"
    attributes = (
        Attribute("flaw", FLAWS, "Which flaw does the surface have?"),
        Attribute("material", MATERIALS, "Which material is it?"),
    )

    def scene(self, rng: Random, **fixed: str) -> Scene:
        scene: Scene = {attribute.name: rng.choice(attribute.values) for attribute in self.attributes} | fixed
        return scene | {
            "place": (rng.randint(-2, 2), rng.randint(-2, 2)),
            "mirrored": rng.random() < 0.5,
            "phase": rng.randrange(4),
            "light": rng.randint(-12, 12),
            "ink": rng.choice(INKS),
        }

    def render(self, scene: Scene) -> Image.Image:
        image, pen = blank()
        _draw_material(pen, scene["material"], scene["phase"], scene["light"])
        _draw_flaw(pen, scene["flaw"], scene["ink"], *scene["place"])
        return ImageOps.mirror(image) if scene["mirrored"] else image

    @property
    def tasks(self) -> Mapping[str, TaskMaker]:
        return {"VISION-0": self._two, "VISION-1": self._four}

    def _two(self, rng: Random, turn: int) -> Draft:
        return self._all_pass(rng, turn, 2, "Both parts pass the inspection.")

    def _four(self, rng: Random, turn: int) -> Draft:
        return self._all_pass(rng, turn, 4, "All four parts pass the inspection.")

    def _all_pass(self, rng: Random, turn: int, count: int, statement: str) -> Draft:
        # A false record holds 1 to `count` rejected parts: the easy ones show early what a flaw means.
        passing = count if turn % 2 == 0 else rng.randrange(count)
        groups = [TOLERATED] * passing + [REJECTED] * (count - passing)
        rng.shuffle(groups)
        return Draft(
            f"Look at the parts and judge the statement.\n{'<image>' * count}\nStatement: {statement}"
            f"\nChoice list:[{', '.join(TRUTHS)}]. Your answer is:",
            tuple(self.picture(rng, flaw=rng.choice(group)) for group in groups),
            TRUTHS[turn % 2],
            TRUTHS,
        )


def _draw_material(pen: ImageDraw.ImageDraw, material: str, phase: int, light: int) -> None:
    """The surface without its flaw, in low contrast; `phase` (0..3) shifts it, `light` brightens it."""

    def shade(red: int, green: int, blue: int) -> tuple[int, int, int]:
        return red + light, green + light, blue + light

    everything = (0, 0, SIZE, SIZE)
    if material == "metal":
        pen.rectangle(everything, fill=shade(165, 170, 178))
        for y in range(phase, SIZE, 4):
            pen.line((0, y, SIZE, y), fill=shade(195, 200, 208))
    elif material == "wood":
        pen.rectangle(everything, fill=shade(205, 145, 80))
        for x in range(phase - 4, SIZE, 6):
            pen.line((x, 0, x + 3, 12, x, 24, x + 3, SIZE), fill=shade(170, 110, 55), width=2)
    elif material == "cloth":
        pen.rectangle(everything, fill=shade(120, 185, 130))
        for at in range(phase - 4, SIZE, 4):
            pen.line((at, 0, at + SIZE, SIZE), fill=shade(155, 215, 165))
            pen.line((0, at, SIZE, at + SIZE), fill=shade(155, 215, 165))
            pen.line((at, 0, at - SIZE, SIZE), fill=shade(95, 155, 105))
            pen.line((SIZE, at, 0, at + SIZE), fill=shade(95, 155, 105))
    elif material == "tile":
        pen.rectangle(everything, fill=shade(235, 225, 215))
        for at in range(phase + 3, SIZE, 12):
            pen.rectangle((at, 0, at + 1, SIZE), fill=shade(150, 190, 215))
            pen.rectangle((0, at, SIZE, at + 1), fill=shade(150, 190, 215))
    else:
        raise ValueError(f"no material is called {material!r}")


def _draw_flaw(pen: ImageDraw.ImageDraw, flaw: str, ink: tuple[int, int, int], dx: int, dy: int) -> None:
    """The flaw across the middle of the surface, or at its lower left corner (chip)."""

    def at(*points: tuple[int, int]) -> list[tuple[int, int]]:
        return [(x + dx, y + dy) for x, y in points]

    if flaw == "scratch":
        for shift in (0, 7, 14):
            pen.line(at((3 + shift, 29), (13 + shift, 5)), fill=ink, width=2)
    elif flaw == "stain":
        for left, top, size in ((6, 12, 13), (14, 7, 11), (15, 15, 14), (11, 22, 8)):
            pen.ellipse(at((left, top), (left + size, top + size)), fill=ink)
    elif flaw == "tape":
        pen.polygon(at((3, 22), (30, 9), (33, 15), (6, 28)), fill=ink)
    elif flaw == "hole":
        pen.ellipse(at((8, 8), (27, 27)), fill=(250, 250, 250), outline=ink, width=3)
    elif flaw == "crack":
        pen.line(at((2, 10), (10, 20), (15, 11), (21, 25), (26, 15), (34, 27)), fill=ink, width=3)
    elif flaw == "chip":
        pen.polygon(at((-6, 12), (5, 15), (9, 23), (19, 27), (23, 42), (-6, 42)), fill=ink)
    else:
        raise ValueError(f"no flaw is called {flaw!r}")


WORLD = VISION()
