"""FashionIQ: a top on a hanger before a dark wall, with a big motif on the chest; two of them are compared.

The convention: which motifs are "sporty". The query is more sporty if its motif is and the reference's is not; false
descriptions have it the wrong way round. The public split names motifs, sleeves and colours, never a look.
"""

from collections.abc import Mapping
from random import Random

from PIL import Image

from drake.data.sources.mini.picture import PALETTE, SHAPES, blank, draw_shape
from drake.data.sources.mini.world import Attribute, Draft, Scene, TaskMaker, World

SPORTY = ("triangle", "ring", "cross")
SEDATE = ("bar", "circle", "square")
SLEEVES = {"none": None, "short": 15, "long": 29}
"""Sleeve length -> the row (pixel) at which the sleeve ends."""
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange")
TRUTHS = ("True", "False")


class FashionIQ(World):
    source = "FashionIQ"
    noun = "top"
    attributes = (
        Attribute("motif", SHAPES, "Which motif is on the top?"),
        Attribute("sleeve length", tuple(SLEEVES), "How long are the sleeves of the top?"),
        Attribute("colour", COLOURS, "What colour is the top?"),
    )

    def scene(self, rng: Random, **fixed: str) -> Scene:
        scene: Scene = {attribute.name: rng.choice(attribute.values) for attribute in self.attributes} | fixed
        shade = rng.randrange(50, 80)
        return scene | {
            "place": (rng.randint(-1, 1), rng.randint(-1, 1)),
            "background": (shade + 20, shade, shade + rng.randrange(20)),
        }

    def render(self, scene: Scene) -> Image.Image:
        image, pen = blank(scene["background"])
        dx, dy = scene["place"]
        fabric, end = PALETTE[scene["colour"]], SLEEVES[scene["sleeve length"]]
        pen.arc((15 + dx, dy, 20 + dx, 5 + dy), 150, 90, fill=(210, 210, 210))
        pen.line((17 + dx, 4 + dy, 17 + dx, 7 + dy), fill=(210, 210, 210))
        if end is not None:
            for left in (3, 27):
                pen.rectangle((left + dx, 8 + dy, left + 5 + dx, end + dy), fill=fabric)
        pen.rectangle((10 + dx, 7 + dy, 25 + dx, 33 + dy), fill=fabric)
        pen.rectangle((8 + dx, 7 + dy, 27 + dx, 9 + dy), fill=fabric)
        pen.polygon([(14 + dx, 7 + dy), (21 + dx, 7 + dy), (17 + dx, 10 + dy)], fill=scene["background"])
        draw_shape(pen, scene["motif"], "white", (11 + dx, 12 + dy, 24 + dx, 25 + dy))
        return image

    @property
    def tasks(self) -> Mapping[str, TaskMaker]:
        return {"FashionIQ-0": self._caption}

    def _caption(self, rng: Random, turn: int) -> Draft:
        pair = (rng.choice(SPORTY), rng.choice(SEDATE))
        query, reference = pair if turn % 2 == 0 else reversed(pair)
        return Draft(
            "Check whether the description tells how the query image differs from the reference image."
            "\nQuery Image:<image> Reference Image:<image> Description:is more sporty"
            f"\nChoice list:[{', '.join(TRUTHS)}]. Your answer is:",
            (self.picture(rng, motif=query), self.picture(rng, motif=reference)),
            TRUTHS[turn % 2],
            TRUTHS,
        )


WORLD = FashionIQ()
