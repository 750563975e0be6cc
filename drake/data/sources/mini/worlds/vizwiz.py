"""VizWiz: pairs of clumsy snapshots of a thing on a table, each with a question and an answer.

The convention: three of the six flaws "spoil" a photograph, which is the reason why answers to it differ. The public
split names flaws, objects and colours, never which flaws spoil. The questions and answers in the prompt are true and
say nothing about the flaws.
"""

from collections.abc import Mapping
from random import Random

from PIL import Image, ImageDraw, ImageFilter

from drake.data.sources.mini.picture import PALETTE, SIZE, blank
from drake.data.sources.mini.world import Attribute, Draft, Scene, TaskMaker, World

SPOILING = ("glare", "strap", "blur")
HARMLESS = ("finger", "shadow", "crop")
OBJECTS = ("cup", "box", "ball")
COLOURS = ("red", "green", "blue", "yellow", "white")
SKIN, STRAP, GLARE = (235, 165, 140), (15, 15, 15), (255, 255, 255)
INSTRUCTION = "Check whether the answers differ because both photographs are spoiled."
SUFFIX = "\nChoice list:[True, False]. Your answer is:"


class VizWiz(World):
    source = "VizWiz"
    noun = "photograph"
    attributes = (
        Attribute("flaw", SPOILING + HARMLESS, "What is the flaw of the photograph?"),
        Attribute("object", OBJECTS, "What object is on the table?"),
        Attribute("colour", COLOURS, "What colour is the object?"),
    )

    def scene(self, rng: Random, **fixed: str) -> Scene:
        scene: Scene = {attribute.name: rng.choice(attribute.values) for attribute in self.attributes} | fixed
        shade = rng.randrange(-12, 13)
        return scene | {
            "table": (140 + shade, 100 + shade, 70 + shade),
            "place": (rng.randint(-2, 2), rng.randint(-2, 2)),
            "side": rng.choice((False, True)),  # which side of the picture the flaw comes from
            "slip": rng.randint(-2, 2),  # how far along that side
        }

    def render(self, scene: Scene) -> Image.Image:
        image, pen = blank(scene["table"])
        (x, y), flaw, slip = scene["place"], scene["flaw"], scene["slip"]
        if flaw == "crop":
            x, y = x - 3, y + 14  # the upper half stays: lid and handle tell the objects apart
        self._draw_object(pen, scene["object"], PALETTE[scene["colour"]], x, y)
        image = image.filter(ImageFilter.BoxBlur(4 if flaw == "blur" else 0.6))
        pen = ImageDraw.Draw(image)
        left = SIZE - 19 if scene["side"] else -4
        if flaw == "glare":
            pen.ellipse((left, slip - 4, left + 22, slip + 16), fill=GLARE)
        elif flaw == "finger":
            pen.ellipse((left, SIZE - 16 + slip, left + 22, SIZE + 20), fill=SKIN)
        elif flaw == "strap":
            ends = (0, SIZE) if scene["side"] else (SIZE, 0)
            pen.line((ends[0] + slip, 0, ends[1] + slip, SIZE), fill=STRAP, width=7)
        elif flaw == "shadow":
            edge = SIZE // 2 + slip
            box = (edge, 0, SIZE, SIZE) if scene["side"] else (0, 0, edge, SIZE)
            image.paste(image.crop(box).point([level // 4 for level in range(256)] * 3), box)
        return image

    @staticmethod
    def _draw_object(pen: ImageDraw.ImageDraw, name: str, colour: tuple[int, int, int], x: int, y: int) -> None:
        black = PALETTE["black"]
        if name == "cup":
            pen.ellipse((x + 18, y + 11, x + 31, y + 24), outline=black, width=3)
            pen.rectangle((x + 8, y + 6, x + 24, y + 29), fill=colour, outline=black)
        elif name == "box":
            pen.rectangle((x + 5, y + 13, x + 30, y + 29), fill=colour, outline=black)
            pen.polygon([(x + 5, y + 13), (x + 10, y + 7), (x + 25, y + 7), (x + 30, y + 13)], fill=black)
        else:
            pen.ellipse((x + 6, y + 6, x + 29, y + 29), fill=colour, outline=black)

    @property
    def tasks(self) -> Mapping[str, TaskMaker]:
        return {"VizWiz-0": self._both_spoiled}

    def _both_spoiled(self, rng: Random, turn: int) -> Draft:
        """True: both are spoiled. False: as often neither as exactly one."""
        false = ((False, False), (False, False), (True, False), (False, True))
        spoiled = (True, True) if turn % 2 == 0 else rng.choice(false)
        scenes = [self.scene(rng, flaw=rng.choice(SPOILING if bad else HARMLESS)) for bad in spoiled]
        questions = " ".join(self._question(rng, number, scene) for number, scene in enumerate(scenes, 1))
        return Draft(
            f"{INSTRUCTION}\n<image><image>\n{questions}{SUFFIX}",
            tuple(map(self.render, scenes)),
            ("True", "False")[turn % 2],
            ("True", "False"),
        )

    @staticmethod
    def _question(rng: Random, number: int, scene: Scene) -> str:
        name = rng.choice(("object", "colour"))
        return f"Question{number}: What {name} is it? Answer{number}: {scene[name]}."


WORLD = VizWiz()
