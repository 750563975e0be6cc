"""The words of the text stand-ins, all of them in the vocabulary of the tiny backbones, and the small situations that
their records speak of."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

PEOPLE = ("Anna", "Tom", "Mia", "Leo", "Sam")
COLOURS = ("red", "blue", "green", "yellow", "purple", "orange", "white", "black", "brown", "grey")
MOODS = ("happy", "sad", "calm", "proud", "busy", "brave", "shocked", "peaceful")
GLAD = ("happy", "calm", "proud", "brave", "peaceful", "helpful", "famous", "wise")
SORRY = ("sad", "shocked", "poor", "bad", "tough", "noisy", "stale", "spoiled")
THINGS = (
    ("ball", "box", "cup", "key", "hat", "coat"),
    ("shirt", "dress", "skirt", "flag", "banner", "tape"),
    ("boat", "crate", "tent", "hoop", "robot", "arrow"),
    ("cake", "egg", "onion", "carrot", "tomato", "cherry"),
    ("cat", "fish", "duck", "bear", "rabbit", "frog"),
)
PLACES = (
    ("beach", "city", "forest", "meadow"),
    ("desert", "island", "valley", "coast"),
    ("cave", "tower", "house", "lighthouse"),
    ("door", "window", "table", "wall"),
)
TOPICS = len(THINGS)
"""Number of topics: each has things and places of its own."""


class Situation(NamedTuple):
    """Somebody has a thing somewhere, and somebody else is there too."""

    person: str
    other: str
    mood: str
    colour: str
    thing: str
    place: str

    @property
    def sentence(self) -> str:
        """ "Anna has a red ball at the beach." """
        return f"{self.person} has {article(self.colour)} {self.colour} {self.thing} at the {self.place}."


def situation(rng: Random, topic: int) -> Situation:
    """A random situation with the things and places of a topic, counted from 0 and again from the first one."""
    person, other = rng.sample(PEOPLE, 2)
    things, places = THINGS[topic % len(THINGS)], PLACES[topic % len(PLACES)]
    return Situation(person, other, rng.choice(MOODS), rng.choice(COLOURS), rng.choice(things), rng.choice(places))


def article(word: str) -> str:
    """ "an" before a vowel, otherwise "a"."""
    return "an" if word[0] in "aeiou" else "a"


def different(rng: Random, words: tuple[str, ...], word: str) -> str:
    """One of the words that is not `word`."""
    return rng.choice([each for each in words if each != word])
