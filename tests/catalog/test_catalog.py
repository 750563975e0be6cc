"""The catalog holds together: tasks, clients, backbones and assignments agree with each other."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from drake.catalog import assign, clients, models, task, tasks, unseen
from drake.errors import DrakeError, UnknownName

FACTS = Path(__file__).parents[1] / "facts"


def test_groups_have_the_published_numbers_of_tasks():
    assert Counter(found.group for found in tasks().values()) == {
        "drake": 40,
        "hflb": 36,
        "unseen-newtasktype": 4,
        "unseen-newvisualdomain": 3,
    }
    assert len(tasks("unseen")) == 7
    assert list(tasks("drake")) == [name for name, found in tasks().items() if found.group == "drake"]


@pytest.mark.parametrize(("benchmark", "count"), [("drake", 10), ("hflb", 9)])
def test_every_task_of_a_benchmark_belongs_to_one_client_at_one_position(benchmark, count):
    federation = clients(benchmark)
    assert len(federation) == count
    assert {len(own) for own in federation} == {4}
    dealt = {name: (c, p) for c, own in enumerate(federation) for p, name in enumerate(own)}
    assert dealt == {name: (found.client, found.client_position) for name, found in tasks(benchmark).items()}


def test_unseen_tasks_are_nobodys():
    listed = [name for names in unseen().values() for name in names]
    assert sorted(listed) == sorted(tasks("unseen"))
    assert not {name for own in clients() for name in own} & set(listed)


def test_a_task_knows_its_source():
    found = task("NLVR2-0")
    assert (found.n_images, found.metric, found.category) == (2, "accuracy", "Visual Relation")
    assert found.client == 1
    assert found.client_position == 3
    assert found.citation == "suhr2019nlvr2"
    assert any("non-commercial" in text for text in found.restrictions)
    assert task("TQA-0").n_images is None
    assert task("TQA-0").images_note.startswith("1 to 8")


def test_only_the_two_short_answer_tasks_are_open_ended():
    open_ended = {name for name, found in tasks().items() if found.type == "open-ended"}
    assert open_ended == {"iconqa-2", "iconqa-3"} == {n for n, t in tasks().items() if t.metric == "token-F1"}


def test_contradictions_of_the_release_are_data():
    assert {name for name, found in tasks("drake").items() if found.conflict and "number" in found.conflict} == {
        "Bongard-HOI-0",
        "Bongard-HOI-1",
    }


def test_no_text_of_a_task_is_empty_or_padded():
    for found in tasks().values():
        for name, value in vars(found).items():
            assert not isinstance(value, str) or (value and value == value.strip()), (found.id, name)


def test_a_wrong_name_gets_the_nearest_one():
    with pytest.raises(UnknownName, match="did you mean 'NLVR2-0'"):
        task("NLVR-0")
    with pytest.raises(UnknownName, match="did you mean 'drake'"):
        tasks("darke")
    with pytest.raises(UnknownName, match="benchmark"):
        clients("mmlu")
    with pytest.raises(UnknownName, match="did you mean 'llama1b'"):
        assign(["llama-1b"])


def test_returned_dicts_are_the_callers_own():
    tasks().clear()
    models().clear()
    unseen().clear()
    assert (len(tasks()), len(models()), len(unseen())) == (83, 10, 2)


def test_hub_backbones_have_an_address_and_embedded_ones_none():
    assert {name for name, model in models().items() if model.embedded} == {
        "tiny-llama-s",
        "tiny-llama-m",
        "tiny-qwen-s",
        "tiny-qwen-m",
    }
    assert all((model.hub_id is None) == model.embedded for model in models().values())


def test_orders_of_names_are_distinct_and_go_from_small_to_large():
    ordered = sorted(models().values(), key=lambda model: model.anchor_order)
    assert len({model.anchor_order for model in ordered}) == len(ordered)
    names = [model.name for model in ordered]
    for smaller, larger in [
        ("llama1b", "llama3b"),
        ("llama3b", "llama8b"),
        ("qwen0.5b", "qwen1.5b"),
        ("tiny-llama-s", "tiny-llama-m"),
        ("tiny-llama-m", "tiny-qwen-s"),
        ("tiny-qwen-s", "tiny-qwen-m"),
    ]:
        assert names.index(smaller) < names.index(larger)


def test_the_official_assignment_answers_to_the_set_of_models_in_any_order():
    found = assign(["llama3b", "llama1b"])
    assert found == assign(["llama1b", "llama3b"])
    assert found.official
    assert found.name == "hetero_llava_llama_1B_3B"
    assert found.models == ("llama1b",) * 2 + ("llama3b",) * 6 + ("llama1b",) * 2
    assert assign(["llama1b"]).name == "homo_llava_llama_1B"
    assert len(assign(["llama1b", "llama3b"], benchmark="hflb").models) == 9


def test_the_official_assignment_is_for_the_official_number_of_clients():
    found = assign(["llama1b", "llama3b"], num_clients=4)
    assert not found.official
    assert found.models == ("llama1b", "llama3b", "llama1b", "llama3b")


@pytest.mark.parametrize("names", [["tiny-llama-s", "tiny-llama-m"], ["tiny-qwen-m", "llama1b", "tiny-llama-s"]])
@pytest.mark.parametrize("num_clients", [3, 10, 11])
def test_other_sets_are_spread_evenly_whatever_their_order(names, num_clients):
    found = assign(names, num_clients)
    assert found == assign(names[::-1], num_clients)
    assert not found.official
    assert found.name.startswith("even:")
    counts = Counter(found.models)
    assert set(counts) == set(names)
    assert sum(counts.values()) == num_clients
    assert max(counts.values()) - min(counts.values()) <= 1


def test_checkpoints_of_ones_own_pass_through(tmp_path):
    found = assign([str(tmp_path), "someone/their-model"], num_clients=2)
    assert sorted(found.models) == sorted([str(tmp_path), "someone/their-model"])


@pytest.mark.parametrize(
    ("names", "count", "why"),
    [
        ([], 10, "list of at least one model"),
        ("llama1b", 10, "list of at least one model"),
        (["llama1b", "llama1b"], 10, "twice"),
        (["llama1b", "llama3b"], 1, "name at most 1"),
    ],
)
def test_impossible_federations_are_refused_with_a_reason(names, count, why):
    with pytest.raises(DrakeError, match=why):
        assign(names, count)


def test_the_catalog_starts_without_heavy_imports():
    code = "import sys, drake.catalog as c; c.tasks(); c.models(); print(sorted({'torch', 'numpy'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


class TestFacts:
    def test_tasks_agree_with_the_facts(self):
        facts = {row["id"]: row for row in json.loads((FACTS / "tasks.json").read_text())}
        assert list(facts) == list(tasks())
        same = ["group", "source", "source_full", "category", "type", "metric", "n_images"]
        same += ["client", "client_position", "homepage", "hf_id", "citation", "paper", "year"]
        for name, row in facts.items():
            for key in same:
                assert getattr(task(name), key) == row[key], (name, key)

    def test_scenarios_agree_with_the_facts(self):
        facts = json.loads((FACTS / "scenarios.json").read_text())
        for benchmark in ("drake", "hflb"):
            assert clients(benchmark) == tuple(map(tuple, facts[f"{benchmark}_clients"]))
            for name, held in facts[f"{benchmark}_model_assignments"].items():
                found = assign(sorted(set(held)), benchmark=benchmark)
                assert (found.name, found.models, found.official) == (name, tuple(held), True)
        assert list(unseen().values()) == [
            tuple(facts["unseen_task_type"]),
            tuple(facts["unseen_visual_domain"]),
        ]
        for name, row in facts["models"].items():
            assert {key: getattr(models()[name], key) for key in row} == row
