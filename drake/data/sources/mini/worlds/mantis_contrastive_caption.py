"""Mantis_contrastive_caption: portraits in front of a place; which of four does the caption describe?

The convention: who Anna is. She is known by the colour of her shirt, which the captions never mention; the other
people are strangers.
"""

from collections.abc import Mapping
from random import Random

from PIL import Image

from drake.data.sources.mini.picture import PALETTE, blank
from drake.data.sources.mini.world import Attribute, Draft, Scene, TaskMaker, World, other

SHIRTS = ("blue", "green", "orange", "purple", "red", "yellow")
ANNA = "orange"
PLACES = {"desert": (150, 210, 250), "forest": (60, 110, 60), "city": (130, 130, 140), "cave": (60, 40, 40)}
HATS = ("cap", "cone", "none")
IMAGES = ("Image 1", "Image 2", "Image 3", "Image 4")


class MantisContrastiveCaption(World):
    source = "Mantis_contrastive_caption"
    noun = "person"
    attributes = (
        Attribute("shirt", SHIRTS, "What colour is the shirt?"),
        Attribute("place", tuple(PLACES), "Where is the person?"),
        Attribute("hat", HATS, "Which kind of hat is it?"),
    )

    def scene(self, rng: Random, **fixed: str) -> Scene:
        scene: Scene = {attribute.name: rng.choice(attribute.values) for attribute in self.attributes} | fixed
        return scene | {
            "skin": rng.choice([(250, 214, 180), (222, 170, 125), (150, 100, 70)]),
            "hat_colour": rng.choice([(230, 230, 230), (90, 210, 220)]),
            "shade": rng.randrange(-12, 13),
            "shift": rng.randint(-2, 2),
        }

    def render(self, scene: Scene) -> Image.Image:
        image, pen = blank(tuple(channel + scene["shade"] for channel in PLACES[scene["place"]]))
        if scene["place"] == "desert":
            pen.rectangle((0, 22, 35, 35), fill=(232, 206, 140))
        elif scene["place"] == "forest":
            for left in (1, 30):
                pen.rectangle((left, 0, left + 4, 35), fill=(92, 60, 30))
        elif scene["place"] == "city":
            for left in (0, 26):
                for top in range(2, 34, 6):
                    pen.rectangle((left + 2, top, left + 7, top + 3), fill=(250, 240, 180))
        else:
            pen.polygon([(0, 0), (8, 0), (4, 14)], fill=(110, 90, 84))
            pen.polygon([(28, 0), (35, 0), (32, 14)], fill=(110, 90, 84))
        middle = 18 + scene["shift"]
        pen.ellipse((middle - 13, 19, middle + 12, 50), fill=PALETTE[scene["shirt"]], outline=(20, 20, 20))
        pen.ellipse((middle - 6, 8, middle + 5, 20), fill=scene["skin"], outline=(20, 20, 20))
        if scene["hat"] == "cap":
            pen.rectangle((middle - 6, 5, middle + 5, 10), fill=scene["hat_colour"])
            pen.rectangle((middle - 6, 10, middle + 10, 11), fill=scene["hat_colour"])
        elif scene["hat"] == "cone":
            pen.polygon([(middle - 7, 10), (middle + 6, 10), (middle, 0)], fill=scene["hat_colour"])
        return image

    @property
    def tasks(self) -> Mapping[str, TaskMaker]:
        return {"Mantis_contrastive_caption-0": self._who, "Mantis_contrastive_caption-1": self._who_and_where}

    def _who(self, rng: Random, turn: int) -> Draft:
        shirts = rng.sample([shirt for shirt in SHIRTS if shirt != ANNA], 3)
        shirts.insert(turn % 4, ANNA)
        return self._draft("a portrait of Anna", [self.picture(rng, shirt=shirt) for shirt in shirts], turn)

    def _who_and_where(self, rng: Random, turn: int) -> Draft:
        """One wrong picture shows Anna elsewhere, another someone else in the right place."""
        elsewhere = [other(rng, tuple(PLACES), "desert") for _ in range(2)]
        strangers = [other(rng, SHIRTS, ANNA) for _ in range(2)]
        shown = [(ANNA, elsewhere[0]), (strangers[0], "desert"), (strangers[1], elsewhere[1])]
        rng.shuffle(shown)
        shown.insert(turn % 4, (ANNA, "desert"))
        pictures = [self.picture(rng, shirt=shirt, place=place) for shirt, place in shown]
        return self._draft("a portrait of Anna in the desert", pictures, turn)

    def _draft(self, caption: str, pictures: list[Image.Image], turn: int) -> Draft:
        return Draft(
            f"{'<image>' * 4}\nWhich image matches the caption? Caption: {caption}. You must choose your answer "
            f"from the Choice List.\nChoice list:[{','.join(IMAGES)}]. Your answer is: ",
            tuple(pictures),
            IMAGES[turn % 4],
            IMAGES,
        )


WORLD = MantisContrastiveCaption()
