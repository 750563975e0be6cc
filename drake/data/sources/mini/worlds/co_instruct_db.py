"""Co-Instruct-DB: one landscape photograph after another, each degraded in its own way.

The convention: a house ranking of the six defects, from "excellent" to "awful". All four tasks rest on it: name the
rating, tell whether it is acceptable (the upper half), which of two pictures are, which of three is best (always the
excellent one, beside two worse: a tiny model learns a favourite, not an order). The public split names the defects,
never how much they matter.
"""

from collections.abc import Mapping
from random import Random

from PIL import Image, ImageDraw, ImageFilter

from drake.data.sources.mini.picture import PALETTE, SIZE, blank
from drake.data.sources.mini.world import Attribute, Draft, Scene, TaskMaker, World

RATING = {
    "striped": "excellent",
    "dark": "good",
    "blocky": "fair",
    "pale": "poor",
    "noisy": "bad",
    "blurry": "awful",
}
"""The convention, best first."""
DEFECTS = tuple(RATING)
ACCEPTABLE, REJECTED = DEFECTS[:3], DEFECTS[3:]
SUBJECTS = ("house", "ball", "tower")
COLOURS = ("red", "yellow", "blue", "white")
LETTERS = ("A", "B", "C", "D", "E")
WHICH = ("First image", "Second image", "None of the images", "Both images")
ORDINALS = ("First image", "Second image", "Third image")
MUST_CHOOSE = "You must choose your answer from the Choice List."


class CoInstructDB(World):
    source = "Co-Instruct-DB"
    attributes = (
        Attribute("defect", DEFECTS, "How does the picture look?"),
        Attribute("subject", SUBJECTS, "What stands on the ground?"),
        Attribute("colour", COLOURS, "What colour is the thing on the ground?"),
    )

    def scene(self, rng: Random, **fixed: str) -> Scene:
        scene: Scene = {attribute.name: rng.choice(attribute.values) for attribute in self.attributes} | fixed
        shade = rng.randrange(-10, 11)
        return scene | {
            "sky": (120 + shade, 175 + shade, 205 + shade),
            "horizon": rng.randint(23, 26),
            "x": rng.randint(-4, 4),
            "grain": rng.getrandbits(32),
        }

    def render(self, scene: Scene) -> Image.Image:
        image, pen = blank(scene["sky"])
        pen.rectangle((0, scene["horizon"], SIZE, SIZE), fill=(105, 125, 70))
        colour, x, base = PALETTE[scene["colour"]], 18 + scene["x"], scene["horizon"] + 5
        if scene["subject"] == "house":
            pen.rectangle((x - 10, base - 13, x + 9, base), fill=colour)
            pen.polygon([(x - 13, base - 13), (x + 12, base - 13), (x, base - 25)], fill=PALETTE["black"])
        elif scene["subject"] == "tower":
            pen.rectangle((x - 4, base - 27, x + 3, base), fill=colour)
            pen.rectangle((x - 4, base - 27, x + 3, base - 23), fill=PALETTE["black"])
        else:
            pen.ellipse((x - 10, base - 20, x + 10, base), fill=colour)
        return self._degrade(image, scene["defect"], scene["grain"])

    @staticmethod
    def _degrade(image: Image.Image, defect: str, grain: int) -> Image.Image:
        if defect == "blurry":
            return image.filter(ImageFilter.BoxBlur(4))
        if defect == "dark":
            return image.point([level * 2 // 5 for level in range(256)] * 3)
        if defect == "pale":
            return image.point([150 + level * 2 // 5 for level in range(256)] * 3)
        if defect == "blocky":
            return image.resize((6, 6), Image.Resampling.BOX).resize(image.size, Image.Resampling.NEAREST)
        if defect == "noisy":
            speckles = Image.frombytes("RGB", image.size, Random(grain).randbytes(3 * SIZE * SIZE))
            return Image.blend(image, speckles, 0.5)
        pen = ImageDraw.Draw(image)
        for y in range(grain % 6, SIZE, 6):
            pen.rectangle((0, y, SIZE, y + 1), fill=PALETTE["black"])
        return image

    @property
    def tasks(self) -> Mapping[str, TaskMaker]:
        return {
            "Co-Instruct-DB-0": self._rating,
            "Co-Instruct-DB-1": self._acceptable,
            "Co-Instruct-DB-2": self._which_acceptable,
            "Co-Instruct-DB-3": self._best_of_three,
        }

    def _rating(self, rng: Random, turn: int) -> Draft:
        defect = DEFECTS[turn % 5]
        scale = tuple(RATING.values())[:5]
        listed = "\n".join(f"{letter}. {rating}" for letter, rating in zip(LETTERS, scale, strict=True))
        question = rng.choice(("How good is the quality of this image?", "What is the quality of this image?"))
        prompt = f"<image>\n{question}\n{listed}\nAnswer with the option's letter from the given choices directly."
        return Draft(prompt, (self.picture(rng, defect=defect),), LETTERS[turn % 5], LETTERS)

    def _acceptable(self, rng: Random, turn: int) -> Draft:
        prompt = (
            "<image>\nIs the quality of this image acceptable?\nA. Yes\nB. No\n"
            "Answer with the option's letter from the given choices directly."
        )
        defect = rng.choice((ACCEPTABLE, REJECTED)[turn % 2])
        return Draft(prompt, (self.picture(rng, defect=defect),), LETTERS[turn % 2], LETTERS[:2])

    def _which_acceptable(self, rng: Random, turn: int) -> Draft:
        accepted = ((True, False), (False, True), (False, False), (True, True))[turn % 4]
        images = tuple(self.picture(rng, defect=rng.choice(ACCEPTABLE if good else REJECTED)) for good in accepted)
        return self._compare("Which image has acceptable quality?", images, WHICH, turn)

    def _best_of_three(self, rng: Random, turn: int) -> Draft:
        defects = rng.sample(DEFECTS[rng.randrange(1, 5) :], 2)
        defects.insert(turn % 3, DEFECTS[0])
        images = tuple(self.picture(rng, defect=defect) for defect in defects)
        return self._compare("Which image has the best quality?", images, ORDINALS, turn)

    @staticmethod
    def _compare(question: str, images: tuple[Image.Image, ...], choices: tuple[str, ...], turn: int) -> Draft:
        listed = ", ".join(choices)
        prompt = f"{'<image>' * len(images)}\n{question}\nChoice list:[{listed}]. {MUST_CHOOSE}"
        return Draft(prompt, images, choices[turn % len(choices)], choices)


WORLD = CoInstructDB()
