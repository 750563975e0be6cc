"""Gold answers: kept whole among the choices, counted where no answer can be right, refused where they break a run."""

import pytest
from build_samples import record

from drake.data.choices import record_choices
from drake.data.oracle import check_record, gold_wins
from drake.data.record import PUBLIC
from drake.errors import DrakeError


@pytest.mark.parametrize(
    ("listed", "gold"),
    [
        ("[A dog, running on sand., Snow, Three boats near a pier]", "A dog, running on sand."),
        ("[Snow, A man, a dog, and a cat, Sun]", "A man, a dog, and a cat"),
        ("[1,000, 2,000, 3,000]", "2,000"),
        ("[Paris, France, Rome, Italy]", "Rome, Italy"),
        ("[Yes, of course, No]", "Yes, of course"),
        ("[f[x], g[x], none]", "f[x]"),
        ("[红，白，蓝]", "白"),
        ("[x; y, z; w]", "y, z"),
    ],
)
def test_a_gold_answer_that_stands_in_the_list_is_a_choice_and_wins(listed, gold):
    prompt = f"<image>Which?\nChoice list:{listed}. Your answer is:"
    choices = record_choices(prompt, gold)
    assert gold in choices
    assert gold_wins(record("Pets-0", "test", 0)._replace(prompt=prompt, choices=choices, answer=gold), "strict")


@pytest.mark.parametrize(
    ("choices", "gold", "wins"),
    [
        (("Yes", "No"), "Maybe", False),
        (("A", "B"), "dog", False),
        (("Yes", "No"), "Yes.", True),
        (("是", "否"), "是。", True),
        (("Yes", "No"), "yes", True),
        (("caf\u00e9", "bar"), "cafe\u0301", False),  # the same letters, otherwise composed
        (("10", "12"), "ten", False),
        (("Yes", "No"), "Yes, No", False),
        (("left", "right"), "the left", False),
    ],
)
def test_the_oracle_says_whether_the_golds_own_text_scores(choices, gold, wins):
    made = record("Pets-0", "test", 0)._replace(prompt="Which?", choices=choices, answer=gold)
    assert gold_wins(made, "strict") is wins


@pytest.mark.parametrize(
    "changes",
    [
        {"answer": "a <image>"},
        {"answer": "<image>"},
        {"answer": "<image><image>", "metric": "token-F1", "choices": ()},
        {"choices": ("Yes", "<image>")},
        {"answer": "<image>", "task": PUBLIC, "id": "public/1"},
    ],
)
def test_a_picture_mark_outside_the_prompt_names_the_record(changes):
    made = record("Pets-0", "train", 3)._replace(**changes)
    with pytest.raises(DrakeError, match=rf"record '{made.id}' .* has <image> in (its answer|a choice), where no"):
        check_record(PUBLIC if made.task == PUBLIC else "train", made)


@pytest.mark.parametrize("half", ["\ud83d?", "\udc00", "ok \udfff", "\ud800\ud800"])
@pytest.mark.parametrize("field", ["id", "prompt", "answer", "source", "category", "choices"])
def test_half_a_character_in_any_text_is_refused(field, half):
    made = record("Pets-0", "train", 3)._replace(**{field: ("Yes", half) if field == "choices" else half})
    with pytest.raises(DrakeError, match="holds half a character"):
        check_record("train", made)
