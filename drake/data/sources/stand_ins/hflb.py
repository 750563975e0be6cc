"""The stand-in for HFLB: pictures of the mini worlds, dealt to 9 clients as HFLB's sources are, in their prompt shapes.

Every task asks for one attribute of one world, in the form of its source: naming (GQA, Abstract, COCOQA, AQUA),
entailment by a picture (SNLI-VE), a statement about two pictures (NLVR2), and questions that a dark photograph does not
answer (VizWiz). The worlds are those that the tiny backbones have seen; the conventions of DRAKE's tasks are not asked
for.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from PIL import Image, ImageEnhance

from drake.data.sources.mini.public import public_draft
from drake.data.sources.mini.world import Attribute, Draft, TaskMaker, World, choice_list, other
from drake.data.sources.mini.worlds import all_worlds
from drake.data.sources.stand_ins.base import StandIn

NAMING = {
    "GQA-10": ("NLVR2", "colour"),
    "GQA-11": ("NLVR2", "shape"),
    "GQA-12": ("NLVR2", "count"),
    "GQA-13": ("VSR", "side"),
    "GQA-20": ("SEED-Bench-2", "light"),
    "GQA-21": ("SEED-Bench-2", "sail"),
    "GQA-22": ("SEED-Bench-2", "sky"),
    "GQA-23": ("MagicBrush", "sky object"),
    "GQA-30": ("Fashion200K", "garment"),
    "GQA-31": ("Fashion200K", "colour"),
    "GQA-32": ("Fashion200K", "pattern"),
    "GQA-33": ("FashionIQ", "motif"),
    "Abstract-0": ("COMICS_Dialogue", "character"),
    "Abstract-1": ("COMICS_Dialogue", "mood"),
    "Abstract-2": ("COMICS_Dialogue", "backdrop"),
    "Abstract-3": ("Bongard-OpenWorld", "thing"),
    "COCOQA-0": ("DreamSim", "thing"),
    "COCOQA-1": ("iconqa", "count"),
    "COCOQA-2": ("DreamSim", "colour"),
    "COCOQA-3": ("dvqa", "place"),
    "AQUA-0": ("MIT-States", "pattern"),
    "AQUA-1": ("MIT-States", "form"),
    "AQUA-2": ("MIT-States", "colour"),
    "AQUA-3": ("IRFL", "figure"),
}
"""Tasks that ask for an attribute by name: (world, attribute)."""
SHAPES = {
    "GQA": "<image>\n Question: {question}\n Choice lists: [{choices}].\n Your answer is:",
    "Abstract": "Please answer with a choice.\n<image>Question: {question}\nChoice list:[{choices}].\n Your answer is:",
    "COCOQA": "<image>\n Question: {question} \n Choice list:[{choices}] \n Your answer is:",
    "AQUA": "<image>\n {question}\nAnswer the question using the choices from the choice list.\n"
    "Choice list:[{choices}]. Your answer is: ",
}
"""The prompts of the sources that ask for a name."""

ENTAILMENT = {
    "SNLI-VE-0": ("CIRR", "animal"),
    "SNLI-VE-1": ("CIRR", "place"),
    "SNLI-VE-2": ("Mantis_contrastive_caption", "shirt"),
    "SNLI-VE-3": ("Mantis_contrastive_caption", "place"),
}
RELATIONS = ("entailment", "neutral", "contradiction")
UNSEEN = ("is famous", "has a child", "feels brave", "is called Anna", "is old", "likes tea")
"""What no picture of a world shows."""

PAIRS = {
    "NLVR2_feddat-0": ("NLVR2", "colour"),
    "NLVR2_feddat-1": ("NLVR2", "shape"),
    "NLVR2_feddat-2": ("TQA", "kind"),
    "NLVR2_feddat-3": ("HQ_Edit", "door"),
}
TRUTHS = ("True", "False")

BLIND = {
    "VizWiz-Original-0": ("VizWiz", "object"),
    "VizWiz-Original-1": ("VizWiz", "colour"),
    "VizWiz-Original-2": ("VISION", "material"),
    "VizWiz-Original-3": ("VISION", "flaw"),
}
UNANSWERABLE = "unanswerable"
LIGHT = 0.08
"""Brightness of a photograph that shows nothing."""


def _asked(pair: tuple[str, str]) -> tuple[World, Attribute]:
    world = all_worlds()[pair[0]]
    return world, world.attribute(pair[1])


def _naming(task: str) -> TaskMaker:
    world, attribute = _asked(NAMING[task])
    shape = SHAPES[task.rpartition("-")[0]]

    def make(rng: Random, turn: int) -> Draft:
        answer, count = attribute.values[turn % len(attribute.values)], min(4, len(attribute.values))
        choices = choice_list(rng, attribute.values, answer, count, rng.randrange(count))
        prompt = shape.format(question=attribute.question, choices=", ".join(choices))
        return Draft(prompt, (world.picture(rng, **{attribute.name: answer}),), answer, choices)

    return make


def _entailment(task: str) -> TaskMaker:
    world, attribute = _asked(ENTAILMENT[task])

    def make(rng: Random, turn: int) -> Draft:
        shown, relation = rng.choice(attribute.values), RELATIONS[turn % 3]
        if relation == "neutral":
            hypothesis = f"The {world.noun} {rng.choice(UNSEEN)}."
        else:
            said = shown if relation == "entailment" else other(rng, attribute.values, shown)
            hypothesis = f"The {attribute.name} is {said}."
        prompt = (
            f"Premise Image: <image>\n Hypothesis: {hypothesis}\n Question: What is the relation? "
            f"Choice list: [{', '.join(RELATIONS)}]. Your answer is:"
        )
        return Draft(prompt, (world.picture(rng, **{attribute.name: shown}),), relation, RELATIONS)

    return make


def _pair(task: str) -> TaskMaker:
    world, attribute = _asked(PAIRS[task])

    def make(rng: Random, turn: int) -> Draft:
        answer, value = TRUTHS[turn % 2], rng.choice(attribute.values)
        values = [value, value]
        if answer == "False":
            values[rng.randrange(2)] = other(rng, attribute.values, value)
        prompt = (
            "Check whether the relation holds between the two images.\n<image><image>\n"
            f"Relation: the {attribute.name} is {value} in both.\nChoice list:[True, False]. Your answer is:"
        )
        return Draft(prompt, tuple(world.picture(rng, **{attribute.name: each}) for each in values), answer, TRUTHS)

    return make


def _blind(task: str) -> TaskMaker:
    world, attribute = _asked(BLIND[task])

    def make(rng: Random, turn: int) -> Draft:
        shown, count = rng.choice(attribute.values), min(3, len(attribute.values))
        named = choice_list(rng, attribute.values, shown, count, rng.randrange(count))
        choices, dark = (*named, UNANSWERABLE), turn % 3 == 2
        picture = world.picture(rng, **{attribute.name: shown})
        prompt = (
            f"<image>\n{attribute.question}\nWhen the photograph does not show it, answer {UNANSWERABLE}."
            f"\nChoice list:[{', '.join(choices)}]. Your answer is: "
        )
        return Draft(prompt, (_darkened(picture) if dark else picture,), UNANSWERABLE if dark else shown, choices)

    return make


def _darkened(picture: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(picture).enhance(LIGHT)


class HflbMini(StandIn):
    """9 clients of 4 tasks with pictures."""

    kind = "hflb-mini"
    benchmark = "hflb"

    def makers(self) -> Mapping[str, TaskMaker]:
        """One for each of the 36 tasks."""
        kinds = ((NAMING, _naming), (ENTAILMENT, _entailment), (PAIRS, _pair), (BLIND, _blind))
        return {task: make(task) for of_kind, make in kinds for task in of_kind}

    def public_draft(self, rng: Random, turn: int) -> Draft:
        """A public record of the mini suite, of one of the worlds in turn."""
        worlds = list(all_worlds().values())
        return public_draft(worlds[turn % len(worlds)], rng)
