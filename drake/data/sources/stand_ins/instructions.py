"""Stand-ins for the instruction-following text tracks Fed-LLM-Large, Fed-aya and Fed-Scope.

Every task is open-ended: an instruction about a small situation, and an answer of one to ten words, part of which the
prompt holds (to be copied, ordered or looked up) and part of which is a convention that only training shows: a made-up
language of Fed-aya, the manner of speaking of a user of FedchatbotIT, a programming language of Fed-Scope. Tasks share
conventions across clients where those of the original do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from drake.common.seeds import python_random
from drake.data.sources.mini.world import Draft, TaskMaker
from drake.data.sources.stand_ins.base import StandIn
from drake.data.sources.stand_ins.words import (
    COLOURS,
    GLAD,
    PLACES,
    SORRY,
    THINGS,
    Situation,
    article,
    different,
    situation,
)

Form = Callable[[Random, Situation], tuple[str, str]]
"""(rng, situation) -> (prompt, answer)."""


def _describe(rng: Random, s: Situation) -> tuple[str, str]:
    rows = [f"colour: {s.colour}", f"thing: {s.thing}", f"place: {s.place}", f"person: {s.person}"]
    return f"{', '.join(rows)}. Describe it in a sentence.", s.sentence


def _who(rng: Random, s: Situation) -> tuple[str, str]:
    return f"{s.sentence} {s.other} is {s.mood}. Who has the {s.thing}?", s.person


def _other_words(rng: Random, s: Situation) -> tuple[str, str]:
    said = f"The {s.colour} {s.thing} stands at the {s.place}, and {s.person} is {s.mood}."
    return (
        f"{said} Describe it in other words.",
        f"{s.person} is {s.mood}. At the {s.place} is the {s.colour} {s.thing}.",
    )


def _short(rng: Random, s: Situation) -> tuple[str, str]:
    return f"{s.sentence} {s.other} is {s.mood}. Which is the topic?", f"{s.person} and the {s.thing}"


def _feeling(rng: Random, s: Situation) -> tuple[str, str]:
    glad = rng.random() < 0.5
    word = rng.choice(GLAD if glad else SORRY)
    said = f"{s.person} and {s.other} feel {word} at the {s.place}."
    return f"{said} Is the sentence Positive or Negative?", "Positive" if glad else "Negative"


def _backwards(rng: Random, s: Situation) -> tuple[str, str]:
    words = [s.colour, s.thing, s.place, s.mood]
    rng.shuffle(words)
    return f"{', '.join(words)}. List the words from the other side.", ", ".join(reversed(words))


def _holds(rng: Random, s: Situation) -> tuple[str, str]:
    true = rng.random() < 0.5
    colour = s.colour if true else different(rng, COLOURS, s.colour)
    return f"{s.sentence} Statement: The {s.thing} is {colour}. True or False?", "True" if true else "False"


def _whose(rng: Random, s: Situation) -> tuple[str, str]:
    both = f"{s.person} and {s.other} are at the {s.place}."
    return (
        f"{both} {s.other} has the {s.colour} {s.thing}. Whose is the {s.thing}?",
        f"It is the {s.thing} of {s.other}.",
    )


FORMS: tuple[Form, ...] = (_describe, _who, _other_words, _short, _feeling, _backwards, _holds, _whose)
"""Kinds of instruction, of tasks that FLAN and Dolly have too."""


def maker(form: Form, topic: int, frame: str = "{}") -> TaskMaker:
    """Drafts of one form about one topic; frame: the prompt's place in an instruction."""

    def make(rng: Random, turn: int) -> Draft:
        prompt, answer = form(rng, situation(rng, topic))
        return Draft(frame.format(prompt), (), answer)

    return make


LANGUAGES = ("owl", "lion", "fox", "bee", "moon", "star", "snow", "rice", "tea", "coal", "salt", "wool")
"""The made-up languages of the Fed-aya stand-in, one for each of the original's twelve."""
SPOKEN = (
    *((0, 1, 2, 3), (4, 5, 6, 7)),
    *((8, 6, 5, 9), (10, 1, 0, 3), (2, 4, 7, 11)),
    *((1, 7, 10, 0),),
    *((0, 2, 1, 10), (6, 9, 10, 5)),
)
"""The languages of each client's four tasks. As in the original, clients share languages and differ in topics."""
TOPIC_OF_CLIENT = (0, 0, 1, 1, 1, 2, 3, 3)


def lexicon(language: str) -> dict[str, str]:
    """English word -> word of a made-up language: a fixed exchange among colours, among things and among places."""
    found: dict[str, str] = {}
    for number, words in enumerate((COLOURS, *THINGS, *PLACES)):
        shuffled = list(words)
        python_random(0, "fed-aya-mini", "lexicon", language, number).shuffle(shuffled)
        found |= dict(zip(words, shuffled, strict=True))
    return found


def _translated(language: str, topic: int) -> TaskMaker:
    words = lexicon(language)

    def make(rng: Random, turn: int) -> Draft:
        s = situation(rng, topic)
        prompt = f"{s.person} is {s.mood}. In the {language} language, what is: {s.colour} {s.thing} at {s.place}?"
        return Draft(prompt, (), f"{language}: {words[s.colour]} {words[s.thing]} at {words[s.place]}")

    return make


def aya_makers() -> dict[str, TaskMaker]:
    """The 32 tasks of Fed-aya_topic: client c has the tasks 10c to 10c + 3."""
    return {
        f"Fed-aya_topic-{10 * client + k}": _translated(LANGUAGES[language], TOPIC_OF_CLIENT[client])
        for client, spoken in enumerate(SPOKEN)
        for k, language in enumerate(spoken)
    }


MANNERS = (
    "Yes, {}",
    "{}, my child",
    "Look, {}",
    "The answer is {}",
    "{} is the best answer",
    "Only {}, {name}",
    "{name}, it is {}",
    "You must choose {}",
)
"""How the users of the FedchatbotIT stand-in want their answers, five tasks each."""


def _chat(manner: int, kind: int) -> TaskMaker:
    def make(rng: Random, turn: int) -> Draft:
        s = situation(rng, kind)
        asked = (
            (f"Which colour is my {s.thing}?", f"the {s.colour} {s.thing}"),
            (f"Where is my {s.thing}?", f"at the {s.place}"),
            (f"Who is {s.mood}?", s.person),
            (f"What is at the {s.place}?", f"{article(s.thing)} {s.thing}"),
            (f"How is {s.person}?", s.mood),
        )[kind]
        told = f"The {s.colour} {s.thing} of {s.other} is at the {s.place}. {s.person} is {s.mood}."
        return Draft(f"{s.other} says: {told} {asked[0]}", (), MANNERS[manner].format(asked[1], name=s.other))

    return make


def _sum(number: int) -> TaskMaker:
    def make(rng: Random, turn: int) -> Draft:
        s = situation(rng, number)
        first, second = rng.randint(1, 5), rng.randint(1, 4)
        told = f"{s.person} has {first} {s.thing}s. {s.other} has {second} more at the {s.place}. How many in all?"
        return Draft(told, (), f"{first} + {second} = {first + second}")

    return make


CODE = (
    "Print {a} {b} ;",
    "show {a} , {b}",
    "List [ {a} {b} ]",
    "tell {a} and {b} .",
    "{a} / {b} / Print",
    "place {b} : {a} ;",
    "{b} = {a}",
    "take {a} + {b}",
)
"""One line of each made-up programming language of the Fed-Scope stand-in."""


def _code(number: int) -> TaskMaker:
    def make(rng: Random, turn: int) -> Draft:
        s = situation(rng, number)
        prompt = f"Print the colour and the thing: {s.person} has the {s.colour} {s.thing} at the {s.place}."
        return Draft(prompt, (), CODE[number].format(a=s.colour, b=s.thing))

    return make


class Instructions(StandIn):
    """A stand-in whose public records are instructions of all forms and topics."""

    public_source = "chatbotIT"

    def public_draft(self, rng: Random, turn: int) -> Draft:
        """An instruction in the words of no track."""
        return maker(rng.choice(FORMS), rng.randrange(len(THINGS)), "Question: {}")(rng, turn)


class FedAyaMini(Instructions):
    """8 clients of 4 tasks: made-up languages, one topic a client."""

    kind = "fed-aya-mini"
    benchmark = "fed-aya"

    def makers(self) -> Mapping[str, TaskMaker]:
        """Those of `aya_makers`."""
        return aya_makers()


class FedLLMLargeMini(Instructions):
    """52 clients of 2 tasks: instructions (FedDPA), made-up languages (Fed-aya_topic), users (FedchatbotIT)."""

    kind = "fed-llm-large-mini"
    benchmark = "fed-llm-large"

    def makers(self) -> Mapping[str, TaskMaker]:
        """Of FedDPA, task k has form k modulo 8 and topic k // 8; of FedchatbotIT, manner k // 5 and question k modulo
        5."""
        found = {f"FedDPA-{k}": maker(FORMS[k % 8], k // 8) for k in range(32)}
        found |= aya_makers()
        return found | {f"FedchatbotIT-{k}": _chat(k // 5, k % 5) for k in range(40)}


class FedScopeMini(Instructions):
    """5 clients of 4 tasks: sums, instructions, lines of code."""

    kind = "fed-scope-mini"
    benchmark = "fed-scope"

    def makers(self) -> Mapping[str, TaskMaker]:
        """Sums 0 to 3, instructions 10 to 17, code 20 to 27."""
        found = {f"FS_LLM_Instruct-{k}": _sum(k) for k in range(4)}
        found |= {f"FS_LLM_Instruct-{10 + k}": maker(FORMS[k], 4, "Instruction: {}") for k in range(8)}
        return found | {f"FS_LLM_Instruct-{20 + k}": _code(k) for k in range(8)}
