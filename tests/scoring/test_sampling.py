"""Which test records are scored."""

from collections import Counter

from drake.scoring.sampling import sampled_rows

ANSWERS = ["yes"] * 60 + ["no"] * 30 + ["maybe"] * 10


def test_a_stratified_sample_has_every_answer_in_its_proportion_and_is_no_prefix():
    rows = sampled_rows(ANSWERS, 20, "stratified", 0, "task")
    assert rows == sorted(set(rows))
    assert Counter(ANSWERS[row] for row in rows) == {"yes": 12, "no": 6, "maybe": 2}
    assert sampled_rows(ANSWERS, 20, "first", 0, "task") == list(range(20))


def test_it_depends_on_seed_and_task_alone_and_a_smaller_one_is_part_of_a_larger():
    rows = sampled_rows(ANSWERS, 20, "stratified", 0, "task")
    assert rows == sampled_rows(ANSWERS, 20, "stratified", 0, "task")
    assert rows != sampled_rows(ANSWERS, 20, "stratified", 1, "task")
    assert rows != sampled_rows(ANSWERS, 20, "stratified", 0, "other")
    assert set(sampled_rows(ANSWERS, 7, "stratified", 0, "task")) < set(rows)


def test_zero_and_more_than_there_are_stand_for_all():
    for count in (0, 100, 101):
        assert sampled_rows(ANSWERS, count, "stratified", 0, "task") == list(range(100))
