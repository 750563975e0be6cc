"""Mantis_contrastive_caption: portraits in front of a place; which of four does the caption describe?

The convention: who is who. A person is known by the colour of the shirt, which the captions never mention.
"""

from collections.abc import Mapping
from random import Random

from PIL import Image

from ..picture import PALETTE, blank
from ..world import Attribute, Draft, Scene, TaskMaker, World, other

PEOPLE = {"Anna": "orange", "Ben": "green", "Cleo": "blue", "David": "yellow", "Emma": "purple", "Felix": "red"}
PLACES = {"desert": (150, 210, 250), "forest": (60, 110, 60), "city": (130, 130, 140), "cave": (60, 40, 40)}
HATS = ("cap", "cone", "none")
IMAGES = ("Image 1", "Image 2", "Image 3", "Image 4")


class MantisContrastiveCaption(World):
    source = "Mantis_contrastive_caption"
    noun = "person"
    attributes = (
        Attribute("shirt", tuple(sorted(PEOPLE.values())), "What colour is the shirt?"),
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
        names = rng.sample(list(PEOPLE), 4)
        pictures = [self.picture(rng, shirt=PEOPLE[name]) for name in names]
        return self._draft(f"a portrait of {names[turn % 4]}", pictures, turn)

    def _who_and_where(self, rng: Random, turn: int) -> Draft:
        """One wrong picture shows the right person elsewhere, another someone else in the right place."""
        name, place = rng.choice(list(PEOPLE)), rng.choice(list(PLACES))
        elsewhere = [other(rng, tuple(PLACES), place) for _ in range(2)]
        strangers = [other(rng, tuple(PEOPLE), name) for _ in range(2)]
        shown = [(name, elsewhere[0]), (strangers[0], place), (strangers[1], elsewhere[1])]
        rng.shuffle(shown)
        shown.insert(turn % 4, (name, place))
        pictures = [self.picture(rng, shirt=PEOPLE[who], place=where) for who, where in shown]
        return self._draft(f"a portrait of {name} in the {place}", pictures, turn)

    def _draft(self, caption: str, pictures: list[Image.Image], turn: int) -> Draft:
        return Draft(
            f"{'<image>' * 4}\nWhich image matches the caption? Caption: {caption}. You must choose your answer "
            f"from the Choice List.\nChoice list:[{','.join(IMAGES)}]. Your answer is: ",
            tuple(pictures),
            IMAGES[turn % 4],
            IMAGES,
        )


WORLD = MantisContrastiveCaption()
