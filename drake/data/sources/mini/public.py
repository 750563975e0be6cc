"""The `public` split: general questions over the same worlds, the stand-in for LLaVA-Instruct.

Its questions are about what is visible, in every answer format of the tasks (choice list, letter, number, True/False,
Yes/No, Image A..D, one word), for all worlds alike; they never reveal a convention that the tasks depend on. One form
asks for a word of a task's choices to be repeated, whatever the picture shows: a backbone must be able to generate a
word before it can learn what it means.
"""

from random import Random

from drake.data.sources.mini.world import Attribute, Draft, World, choice_list, other

LETTERS = "ABCDE"
ORDINALS = ("first", "second", "third", "fourth")


def public_draft(world: World, rng: Random) -> Draft:
    """One public record of a world: a random question form about a random attribute."""
    attribute = rng.choice(world.attributes)
    form = rng.choices(tuple(FORMS), weights=tuple(FORMS.values()))[0]
    return form(world, attribute, rng)


def _options(attribute: Attribute, rng: Random, answer: str, most: int = 4) -> tuple[str, ...]:
    count = min(most, len(attribute.values))
    return choice_list(rng, attribute.values, answer, count, rng.randrange(count))


def _name(world: World, attribute: Attribute, rng: Random) -> Draft:
    value = rng.choice(attribute.values)
    options = _options(attribute, rng, value, rng.choice((2, 3, 4)))
    prompt = f"<image>\n{attribute.question}\nChoice list:[{', '.join(options)}]. Your answer is:"
    return Draft(prompt, (world.picture(rng, **{attribute.name: value}),), value, options)


def _open(world: World, attribute: Attribute, rng: Random) -> Draft:
    value = rng.choice(attribute.values)
    prompt = f"<image>\n{attribute.question} Answer with a single word or a number."
    return Draft(prompt, (world.picture(rng, **{attribute.name: value}),), value)


def _letter(world: World, attribute: Attribute, rng: Random) -> Draft:
    value = rng.choice(attribute.values)
    options = _options(attribute, rng, value, 5)
    listed = "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))
    instruction = "Answer with the option's letter from the given choices directly."
    prompt = f"<image>\n{attribute.question}\n{listed}\n{instruction}"
    letters = tuple(LETTERS[: len(options)])
    return Draft(prompt, (world.picture(rng, **{attribute.name: value}),), letters[options.index(value)], letters)


def _number(world: World, attribute: Attribute, rng: Random) -> Draft:
    value = rng.choice(attribute.values)
    options = _options(attribute, rng, value, 5)
    numbers = tuple(str(number + 1) for number in range(len(options)))
    listed = "\n".join(f"{number}. {option}" for number, option in zip(numbers, options, strict=True))
    prompt = (
        f"<image>\n{attribute.question}\n{listed}\nPrint only the answer with a single answer id ({','.join(numbers)})."
    )
    return Draft(prompt, (world.picture(rng, **{attribute.name: value}),), numbers[options.index(value)], numbers)


def _verify(world: World, attribute: Attribute, rng: Random) -> Draft:
    value, truth = rng.choice(attribute.values), rng.choice(("True", "False"))
    said = value if truth == "True" else other(rng, attribute.values, value)
    prompt = f"<image>\nThe {attribute.name} is {said}.\nChoice list:[True, False]. Your answer is:"
    return Draft(prompt, (world.picture(rng, **{attribute.name: value}),), truth, ("True", "False"))


def _select(world: World, attribute: Attribute, rng: Random) -> Draft:
    count = min(rng.choice((2, 3, 4)), len(attribute.values))
    values = rng.sample(attribute.values, count)
    answer = rng.randrange(count)
    names = [f"Image {LETTERS[index]}" for index in range(count)]
    shown = ", ".join(f"{name}: <image>" for name in names)
    prompt = (
        f"{shown}\nIn which image is the {attribute.name} {values[answer]}?"
        f"\nChoice list:[{', '.join(names)}]. Your answer is:"
    )
    images = tuple(world.picture(rng, **{attribute.name: value}) for value in values)
    return Draft(prompt, images, names[answer], tuple(names))


def _of_which(world: World, attribute: Attribute, rng: Random) -> Draft:
    count = rng.choice((2, 3))
    values = [rng.choice(attribute.values) for _ in range(count)]
    asked = rng.randrange(count)
    options = _options(attribute, rng, values[asked])
    prompt = (
        f"{'<image>' * count}\nLook at the {ORDINALS[asked]} image. {attribute.question}"
        f"\nChoice list:[{', '.join(options)}]. Your answer is:"
    )
    return Draft(prompt, tuple(world.picture(rng, **{attribute.name: v}) for v in values), values[asked], options)


def _same(world: World, attribute: Attribute, rng: Random) -> Draft:
    count, truth = rng.choice((2, 2, 3)), rng.choice(("Yes", "No"))
    values = [rng.choice(attribute.values)] * count
    if truth == "No":
        values[rng.randrange(count)] = other(rng, attribute.values, values[0])
    prompt = (
        f"{'<image>' * count}\nIs the {attribute.name} the same in all images?\nChoice list:[Yes, No]. Your answer is:"
    )
    return Draft(prompt, tuple(world.picture(rng, **{attribute.name: v}) for v in values), truth, ("Yes", "No"))


def _repeat(world: World, attribute: Attribute, rng: Random) -> Draft:
    words = _answer_words(world, rng)
    asked = rng.choice(words)
    prompt = f"<image>\nRepeat this choice: {asked}.\nChoice list:[{', '.join(words)}]. Your answer is:"
    return Draft(prompt, (world.picture(rng),), asked, words)


def _answer_words(world: World, rng: Random) -> tuple[str, ...]:
    """Two to four words from answers and choices of the world's tasks; values of an attribute if those are letters."""
    answers = [rng.choice(list(world.tasks.values()))(rng, rng.randrange(60)) for _ in range(4)]
    words = dict.fromkeys(word for draft in answers for word in (*draft.choices, draft.answer) if len(word) > 1)
    if len(words) < 2:
        words = dict.fromkeys(rng.choice(world.attributes).values)
    return tuple(rng.sample(list(words), min(len(words), rng.choice((2, 3, 4)))))


FORMS = {_name: 4, _open: 3, _letter: 2, _number: 2, _verify: 3, _select: 2, _of_which: 2, _same: 2, _repeat: 4}
"""Question forms and how often each is drawn."""
