"""Bongard-OpenWorld: landscapes with one thing under a coloured sky.

The convention: sky and thing together make a place what it is called (`PLACES`), and two kinds of place are
cherished. Positives are three pictures of one kind. The public split names skies, things and grounds, never a kind.
"""

from collections.abc import Mapping
from random import Random

from PIL import Image, ImageDraw

from drake.data.sources.mini.picture import PALETTE, blank
from drake.data.sources.mini.world import Attribute, Draft, Scene, TaskMaker, World

SKIES = ("orange", "blue", "yellow", "purple")
THINGS = ("house", "flower", "tent", "tree")
GROUNDS = {"grassy": (60, 150, 60), "sandy": (215, 190, 130), "snowy": (245, 245, 250)}
PLACES = {
    "famous": (("orange", "blue"), ("house", "flower")),
    "haunted": (("yellow", "purple"), ("house", "flower")),
    "modern": (("yellow", "purple"), ("tent", "tree")),
    "peaceful": (("orange", "blue"), ("tent", "tree")),
}
"""Kind of place -> the skies and the things that make it: each half of the evidence is worth something alone."""
KINDS = tuple(PLACES)
CHERISHED = ("famous", "peaceful")
OTHERS = ("haunted", "modern")
GROUPS = "Positive: <image><image><image>\nNegative: <image><image><image>"
SIDES = ("Positive", "Negative")


class BongardOpenWorld(World):
    source = "Bongard-OpenWorld"
    noun = "landscape"
    attributes = (
        Attribute("sky", SKIES, "What colour is the sky?"),
        Attribute("thing", THINGS, "What stands in the landscape?"),
        Attribute("ground", tuple(GROUNDS), "What is the ground like?"),
    )

    def scene(self, rng: Random, **fixed: str) -> Scene:
        scene: Scene = {attribute.name: rng.choice(attribute.values) for attribute in self.attributes} | fixed
        return scene | {"at": (rng.randint(16, 20), rng.randint(29, 31)), "shade": rng.randint(-8, 5)}

    def render(self, scene: Scene) -> Image.Image:
        red, green, blue = (max(0, channel + scene["shade"]) for channel in PALETTE[scene["sky"]])
        image, pen = blank((red, green, blue))
        pen.rectangle((0, 26, 35, 35), fill=GROUNDS[scene["ground"]])
        _thing(pen, scene["thing"], *scene["at"])
        return image

    @property
    def tasks(self) -> Mapping[str, TaskMaker]:
        return {"Bongard-OpenWorld-0": self._query, "Bongard-OpenWorld-1": self._common}

    def _place(self, rng: Random, kind: str) -> Image.Image:
        skies, things = PLACES[kind]
        return self.picture(rng, sky=rng.choice(skies), thing=rng.choice(things))

    def _query(self, rng: Random, turn: int) -> Draft:
        # Positives are always of a cherished kind, so that the query's own looks count as well as the six examples.
        side, kind = SIDES[turn % 2], rng.choice(CHERISHED)
        kinds = [kind] * 3 + [rng.choice(OTHERS) for _ in range(3)]
        kinds.append(kind if side == "Positive" else rng.choice(OTHERS))
        prompt = (
            f"{GROUPS}\nQuery: <image>\nOnly the positive images share a concept. On which side is the query?"
            f"\nChoice list:[{', '.join(SIDES)}]. Your answer is:"
        )
        return Draft(prompt, tuple(self._place(rng, kind) for kind in kinds), side, SIDES)

    def _common(self, rng: Random, turn: int) -> Draft:
        sentences = tuple(f"The place is {kind}" for kind in KINDS)
        kind = KINDS[turn % len(KINDS)]
        negatives = [it for it in KINDS if it != kind]
        rng.shuffle(negatives)
        prompt = (
            f"{GROUPS}\nChoose the sentence that holds for all positive images and for no negative one."
            f"\nChoice List: [{', '.join(sentences)}]"
        )
        images = tuple(self._place(rng, it) for it in [kind] * 3 + negatives)
        return Draft(prompt, images, f"The place is {kind}", sentences)


def _thing(pen: ImageDraw.ImageDraw, thing: str, x: int, base: int) -> None:
    """Draw a thing about 20 pixels wide and 24 high that stands on the row `base`, centred on the column `x`."""
    if thing == "house":
        pen.rectangle((x - 9, base - 13, x + 9, base), fill="white", outline="black")
        pen.polygon([(x - 12, base - 13), (x + 12, base - 13), (x, base - 24)], fill=(110, 30, 30), outline="black")
        pen.rectangle((x - 2, base - 8, x + 2, base), fill="black")
    elif thing == "flower":
        pen.rectangle((x - 1, base - 12, x + 1, base), fill=(0, 80, 0))
        for dx, dy in ((-6, 0), (6, 0), (0, -6), (0, 6)):
            pen.ellipse((x + dx - 4, base + dy - 20, x + dx + 4, base + dy - 12), fill="white", outline="black")
        pen.ellipse((x - 3, base - 19, x + 3, base - 13), fill="black")
    elif thing == "tent":
        pen.polygon([(x - 13, base), (x + 13, base), (x, base - 18)], fill=(220, 40, 40), outline="black")
        pen.polygon([(x - 4, base), (x + 4, base), (x, base - 12)], fill="black")
    elif thing == "tree":
        pen.rectangle((x - 2, base - 10, x + 2, base), fill=(90, 50, 20))
        pen.ellipse((x - 10, base - 26, x + 10, base - 7), fill=(20, 100, 40), outline="black")
    else:
        raise ValueError(f"nothing is called {thing!r}")


WORLD = BongardOpenWorld()
