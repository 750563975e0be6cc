"""The stand-in for GLUE: what its eight tasks ask, about small situations in the words of the tiny backbones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from drake.data.sources.glue import GLUE_TASKS
from drake.data.sources.mini.world import Draft, TaskMaker
from drake.data.sources.stand_ins.base import StandIn
from drake.data.sources.stand_ins.words import (
    COLOURS,
    GLAD,
    MOODS,
    PEOPLE,
    PLACES,
    SORRY,
    THINGS,
    TOPICS,
    Situation,
    different,
    situation,
)

Pair = tuple[str, ...]
"""The texts of a question."""


def _acceptable(rng: Random, s: Situation, answer: str) -> Pair:
    """Words in their order, or with the first half after the second."""
    words = s.sentence.removesuffix(".").split()
    if answer == "No":
        cut = rng.randint(2, 4)
        words = words[cut:] + words[:cut]
    return (" ".join(words) + ".",)


def _feeling(rng: Random, s: Situation, answer: str) -> Pair:
    word = rng.choice(GLAD if answer == "Positive" else SORRY)
    return (f"{s.person} and {s.other} feel {word} at the {s.place} with the {s.colour} {s.thing}.",)


def _paraphrase(rng: Random, s: Situation, answer: str) -> Pair:
    colour = s.colour if answer == "Yes" else different(rng, COLOURS, s.colour)
    return s.sentence, f"At the {s.place} {s.person} holds the {colour} {s.thing}."


def _same_question(rng: Random, s: Situation, answer: str) -> Pair:
    asked = f"Where is the {s.colour} {s.thing} of {s.person}?"
    if answer == "Yes":
        return asked, f"At which place is the {s.thing} of {s.person}, the {s.colour} one?"
    return asked, f"At which place is the {s.thing} of {s.other}, the {s.colour} one?"


def _follows(rng: Random, s: Situation, answer: str) -> Pair:
    if answer == "entailment":
        said = rng.choice([f"The {s.thing} is {s.colour}.", f"{s.person} has a {s.thing}."])
    elif answer == "contradiction":
        said = f"The {s.thing} of {s.person} is {different(rng, COLOURS, s.colour)}."
    else:
        said = f"{rng.choice((s.person, s.other))} is {s.mood}."
    return s.sentence, said


def _answered(rng: Random, s: Situation, answer: str) -> Pair:
    question = rng.choice([f"Where is {s.person}?", f"Which colour is the {s.thing}?", f"Who has the {s.thing}?"])
    return question, s.sentence if answer == "Yes" else f"{s.other} is {s.mood} and {rng.choice(MOODS)}."


def _entailed(rng: Random, s: Situation, answer: str) -> Pair:
    person = s.person if answer == "Yes" else s.other
    return f"{s.sentence} {s.other} is {s.mood}.", f"{person} is at the {s.place} with the {s.thing}."


MAKERS: dict[str, Callable[[Random, Situation, str], Pair]] = {
    "CoLA-0": _acceptable,
    "SST-2-0": _feeling,
    "MRPC-0": _paraphrase,
    "QQP-0": _same_question,
    "MNLI-0": _follows,
    "QNLI-0": _answered,
    "RTE-0": _entailed,
}
"""Task -> the texts of a question with a given answer."""


def _choice(task: str) -> TaskMaker:
    known, texts = GLUE_TASKS[task], MAKERS[task]

    def make(rng: Random, turn: int) -> Draft:
        answer = known.choices[turn % len(known.choices)]
        s = situation(rng, rng.randrange(TOPICS))
        return Draft(known.prompt(*texts(rng, s, answer)), (), answer, known.choices)

    return make


def _similarity(rng: Random, turn: int) -> Draft:
    """Two sentences of four parts, and 5/4 for each part that is the same, in steps of half a point as people give."""
    topic = rng.randrange(TOPICS)
    s = situation(rng, topic)
    parts = [s.person, s.colour, s.thing, s.place]
    others: tuple[tuple[str, ...], ...] = (PEOPLE, COLOURS, THINGS[topic], PLACES[topic % len(PLACES)])
    same = turn % 5
    kept = set(rng.sample(range(4), same))
    changed = [part if k in kept else different(rng, others[k], part) for k, part in enumerate(parts)]
    sentences = ["{} with the {} {} at the {}.".format(*words) for words in (parts, changed)]
    known = GLUE_TASKS["STS-B-0"]
    return Draft(known.prompt(*sentences), (), ("0.0", "1.0", "2.5", "4.0", "5.0")[same])


class GlueMini(StandIn):
    """4 clients of 2 tasks."""

    kind = "glue-mini"
    benchmark = "glue"

    def makers(self) -> Mapping[str, TaskMaker]:
        """The seven tasks with choices, and STS-B."""
        return {task: _choice(task) for task in MAKERS} | {"STS-B-0": _similarity}

    def public_draft(self, rng: Random, turn: int) -> Draft:
        """A question with choices about a situation, in the words of no task."""
        s = situation(rng, rng.randrange(TOPICS))
        asked, answer, words = rng.choice(
            [
                (f"Which colour is the {s.thing}?", s.colour, COLOURS),
                (f"Who has the {s.thing}?", s.person, PEOPLE),
                (f"How is {s.other}?", s.mood, MOODS),
            ]
        )
        options = [answer, *rng.sample([word for word in words if word != answer], 2)]
        rng.shuffle(options)
        prompt = f"{s.sentence} {s.other} is {s.mood}.\n{asked}\nChoice list:[{', '.join(options)}]. Your answer is:"
        return Draft(prompt, (), answer, tuple(options))
