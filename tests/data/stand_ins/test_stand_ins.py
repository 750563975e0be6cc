"""The stand-ins have the clients and tasks of what they stand in for, and records that can be scored."""

from collections import Counter

import pytest

from drake.catalog import benchmark
from drake.data.oracle import GoldVerdicts, check_record
from drake.data.sources import open_source
from drake.data.sources.stand_ins.instructions import LANGUAGES, SPOKEN, lexicon
from drake.errors import DrakeError

SIZES = {"train": 6, "test": 4, "public_records": 5}
STAND_INS = {"hflb-mini": 36, "fed-llm-large-mini": 104, "fed-aya-mini": 32, "fed-scope-mini": 20, "glue-mini": 8}


def records(kind, seed=0, **sizes):
    return list(open_source(kind, seed, **SIZES | sizes).all_records())


@pytest.mark.parametrize(("kind", "tasks"), STAND_INS.items())
def test_every_task_has_its_records_and_every_record_can_be_scored(kind, tasks):
    source = open_source(kind, **SIZES)
    known = benchmark(source.benchmark)
    assert source.clients == known.clients
    assert set(source.makers()) == set(known.tasks)
    found, verdicts = records(kind), GoldVerdicts()
    sizes = Counter((record.task, split) for split, record in found)
    assert len(sizes) == 2 * tasks + 1
    assert set(sizes.values()) == {6, 4, 5}
    for split, record in found:
        check_record(split, record)
        verdicts.add(record)
        if split != "public":
            assert record.metric == known.metrics[record.task]
            assert bool(record.images) == (kind == "hflb-mini")
    assert verdicts.count == {}


@pytest.mark.parametrize("kind", STAND_INS)
def test_the_seed_decides_every_bit(kind):
    few = {"train": 2, "test": 1, "public_records": 1}
    first = records(kind, **few)
    assert first == records(kind, **few)
    assert first != records(kind, 1, **few)


@pytest.mark.parametrize("kind", ["glue-mini", "fed-aya-mini"])
def test_no_record_repeats_another_of_its_task(kind):
    for task, prompts in _prompts(records(kind, train=40, test=20)).items():
        assert len(set(prompts)) == len(prompts), task


def _prompts(found):
    prompts = {}
    for _, record in found:
        prompts.setdefault(record.task, []).append(record.prompt)
    return prompts


def test_answers_of_choice_tasks_are_balanced():
    found = [record for split, record in records("glue-mini", train=60) if split == "train"]
    for task in ("CoLA-0", "RTE-0", "MNLI-0"):
        counts = Counter(record.answer for record in found if record.task == task)
        assert len(set(counts.values())) == 1


def test_similarity_has_every_grade():
    found = [record for split, record in records("glue-mini", train=20) if split == "train"]
    grades = Counter(record.answer for record in found if record.task == "STS-B-0")
    assert grades == {"0.0": 4, "1.0": 4, "2.5": 4, "4.0": 4, "5.0": 4}


def test_clients_of_fed_aya_share_languages_and_a_language_is_an_exchange_of_words():
    languages = [{LANGUAGES[number] for number in spoken} for spoken in SPOKEN]
    assert [len(of_client) for of_client in languages] == [4] * 8
    assert languages[0] & languages[3] == {"owl", "lion", "bee"}
    assert languages[0].isdisjoint(languages[1])
    words = lexicon("owl")
    assert sorted(words) == sorted(words.values())
    assert words != lexicon("fox")


def test_two_pictures_where_a_statement_is_about_two():
    found = records("hflb-mini", train=1, test=1)
    counts = {record.source: len(record.images) for split, record in found if split != "public"}
    assert counts == {source: 2 if source == "NLVR2_feddat" else 1 for source in benchmark("hflb").tasks_per_source}


def test_more_records_than_there_are_is_one_sentence():
    source = open_source("fed-scope-mini", train=5000)
    with pytest.raises(DrakeError, match=r"fed-scope-mini found no new record for FS_LLM_Instruct-\d+ .*fewer records"):
        list(source.records("FS_LLM_Instruct-20", "train"))
