"""Bongard-HOI: a person in a room (lying on a bench, or on their feet), with a thing on the floor.

The convention: a pose means an action (`ACTIONS`), whatever the thing is, and two actions are helpful, done in shirts
of their own. All pictures of a record show the same thing. The public split names poses, things and shirts, never an
action.
"""

from collections.abc import Mapping
from random import Random

from PIL import Image

from drake.data.sources.mini.picture import PALETTE, blank, draw_shape
from drake.data.sources.mini.world import Attribute, Draft, Scene, TaskMaker, World

POSES = ("lying", "reaching", "bowing", "spread")
ACTIONS = {"bake": "reaching", "guard": "lying", "polish": "bowing", "trade": "spread"}
"""Action -> its pose, sorted by action as the original lists them."""
HELPFUL = ("guard", "polish")
USELESS = ("bake", "trade")
THINGS = {"ball": "circle", "box": "square", "hoop": "ring", "cone": "triangle"}
SHIRTS = ("red", "green", "blue", "yellow")
WORN = {"guard": ("red", "green"), "polish": ("red", "green"), "bake": ("blue", "yellow"), "trade": ("blue", "yellow")}
"""Action -> what is worn for it: tells whether it is helpful, not which it is."""
SKIN, TROUSERS, THING = (235, 180, 140), (40, 40, 60), (110, 60, 20)
GROUPS = "Positive: <image><image><image>\nNegative: <image><image><image>"
SIDES = ("Positive", "Negative")
IMAGES = ("Image A", "Image B", "Image C", "Image D")


class BongardHOI(World):
    source = "Bongard-HOI"
    noun = "person"
    attributes = (
        Attribute("pose", POSES, "In which pose is the person?"),
        Attribute("thing", tuple(THINGS), "What is on the floor?"),
        Attribute("shirt", SHIRTS, "What colour is the shirt?"),
    )

    def scene(self, rng: Random, **fixed: str) -> Scene:
        scene: Scene = {attribute.name: rng.choice(attribute.values) for attribute in self.attributes} | fixed
        return scene | {
            "shift": (rng.randint(-1, 1), rng.randint(-1, 1)),
            "thing_shift": (rng.randint(-1, 1), rng.randint(-1, 1)),
            "wall": rng.randint(-12, 12),
        }

    def render(self, scene: Scene) -> Image.Image:
        wall = 205 + scene["wall"]
        image, pen = blank((wall, wall + 10, wall + 20))
        pen.rectangle((0, 31, 35, 35), fill=(150, 120, 95))
        dx, dy = scene["shift"]

        def stroke(fill: tuple[int, int, int], width: int, *points: tuple[int, int]) -> None:
            pen.line([(x + dx, y + dy) for x, y in points], fill=fill, width=width)

        def head(x: int, y: int) -> None:
            pen.ellipse((x + dx - 4, y + dy - 4, x + dx + 4, y + dy + 4), fill=SKIN, outline="black")

        shirt = PALETTE[scene["shirt"]]
        if scene["pose"] == "lying":
            stroke((90, 100, 110), 3, (0, 22), (34, 22))
            stroke((90, 100, 110), 3, (4, 22), (4, 34))
            stroke(TROUSERS, 5, (1, 16), (12, 16))
            stroke(shirt, 9, (11, 16), (25, 16))
            head(29, 16)
        elif scene["pose"] == "bowing":
            stroke(TROUSERS, 5, (6, 15), (6, 32))
            stroke(shirt, 8, (3, 12), (20, 12))
            stroke(SKIN, 3, (18, 15), (18, 23))
            head(24, 13)
        else:
            stroke(TROUSERS, 3, (9, 24), (7, 33))
            stroke(TROUSERS, 3, (13, 24), (15, 33))
            stroke(shirt, 8, (11, 12), (11, 25))
            head(11, 9)
            if scene["pose"] == "reaching":
                stroke(shirt, 4, (6, 15), (3, 8), (3, 1))
                stroke(shirt, 4, (16, 15), (19, 8), (19, 1))
            else:
                stroke(shirt, 4, (1, 16), (28, 16))
        left, top = 23 + scene["thing_shift"][0], 23 + scene["thing_shift"][1]
        draw_shape(pen, THINGS[scene["thing"]], THING, (left, top, left + 10, top + 10))
        return image

    @property
    def tasks(self) -> Mapping[str, TaskMaker]:
        return {
            "Bongard-HOI-0": self._query,
            "Bongard-HOI-1": self._common,
            "Bongard-HOI-2": self._incoherent,
        }

    def _people(self, rng: Random, actions: list[str]) -> tuple[Image.Image, ...]:
        thing = rng.choice(tuple(THINGS))
        return tuple(
            self.picture(rng, pose=ACTIONS[action], thing=thing, shirt=rng.choice(WORN[action])) for action in actions
        )

    def _query(self, rng: Random, turn: int) -> Draft:
        # Positives always show a helpful action, so that the query's own pose counts as well as the six examples.
        side, action = SIDES[turn % 2], rng.choice(HELPFUL)
        actions = [action] * 3 + [rng.choice(USELESS) for _ in range(3)]
        actions.append(action if side == "Positive" else rng.choice(USELESS))
        prompt = (
            f"{GROUPS}\nQuery: <image>\nOnly the positive images share an action. On which side is the query?"
            f"\nChoice list:[{', '.join(SIDES)}]. Your answer is:"
        )
        return Draft(prompt, self._people(rng, actions), side, SIDES)

    def _common(self, rng: Random, turn: int) -> Draft:
        names = tuple(ACTIONS)
        action = names[turn % len(names)]
        negatives = [name for name in names if name != action]
        rng.shuffle(negatives)
        prompt = (
            f"{GROUPS}\nChoose the action that all positive images show and no negative one does."
            f"\nChoice List: [{', '.join(names)}]"
        )
        return Draft(prompt, self._people(rng, [action] * 3 + negatives), action, names)

    def _incoherent(self, rng: Random, turn: int) -> Draft:
        position = turn % len(IMAGES)
        actions = [rng.choice(HELPFUL)] * len(IMAGES)
        actions[position] = rng.choice(USELESS)
        listed = ", ".join(f"{image}: <image>" for image in IMAGES)
        prompt = (
            f"Three people do the same helpful action. Find the one who does not.\n{listed}"
            f"\nChoice list:[{', '.join(IMAGES)}]. Your answer is:"
        )
        return Draft(prompt, self._people(rng, actions), IMAGES[position], IMAGES)


WORLD = BongardHOI()
