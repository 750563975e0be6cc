"""The benchmarks of the catalog agree with the facts that are known of them."""

import json
from pathlib import Path

import pytest

from drake.catalog import assign, benchmark, benchmarks
from drake.data.sources import SOURCES
from drake.errors import UnknownName

FACTS = json.loads((Path(__file__).parents[1] / "facts" / "scenarios.json").read_text())


@pytest.mark.parametrize(
    ("name", "clients", "tasks_each", "sources", "metrics"),
    [
        ("hflb", 9, 4, {"GQA": 12, "NLVR2_feddat": 4}, {"accuracy"}),
        ("fed-llm-large", 52, 2, {"FedDPA": 32, "Fed-aya_topic": 32, "FedchatbotIT": 40}, {"ROUGE-L"}),
        ("fed-aya", 8, 4, {"Fed-aya_topic": 32}, {"ROUGE-L"}),
        ("fed-scope", 5, 4, {"FS_LLM_Instruct": 20}, {"ROUGE-L"}),
        ("glue", 4, 2, {"CoLA": 1, "STS-B": 1}, {"accuracy", "F1+accuracy", "Matthews", "Pearson+Spearman"}),
    ],
)
def test_clients_tasks_and_metrics(name, clients, tasks_each, sources, metrics):
    found = benchmark(name)
    assert (len(found.clients), {len(own) for own in found.clients}) == (clients, {tasks_each})
    assert len(set(found.tasks)) == clients * tasks_each
    assert found.tasks_per_source.items() >= sources.items()
    assert set(found.metrics.values()) == metrics


def test_hflb_and_drake_are_those_of_the_scenario_files():
    assert benchmark("hflb").clients == tuple(map(tuple, FACTS["hflb_clients"]))
    assert benchmark("drake").clients == tuple(map(tuple, FACTS["drake_clients"]))


def test_what_is_known_of_the_numbers_of_the_text_tracks():
    assert benchmark("fed-aya").clients[1][:2] == ("Fed-aya_topic-10", "Fed-aya_topic-11")
    assert [own[0].rpartition("-")[2] for own in benchmark("fed-scope").clients] == ["0", "10", "14", "20", "24"]
    paper = {
        name: found.settings["paper"]["training"] for name, found in benchmarks().items() if "paper" in found.settings
    }
    same = {"rank": 16, "alpha": 32, "shared_learning_rate": 5e-4}
    assert paper["fed-scope"] == same | {"learning_rate": 3e-4, "steps": 30}
    assert paper["fed-aya"] == same | {"learning_rate": 3e-4, "steps": 50}
    assert paper["fed-llm-large"] == same | {"learning_rate": 1e-4, "steps": 10}


def test_every_benchmark_but_drake_says_what_was_chosen_and_has_its_sources():
    for name, found in benchmarks().items():
        assert found.facts
        assert bool(found.choices) == (name != "drake")
        assert {found.stand_in, *(source.partition(":")[0] for source in found.build)} <= set(SOURCES.names())


def test_two_sizes_are_dealt_evenly_and_hflb_has_the_official_assignment():
    names = list(benchmark("fed-llm-large").settings["paper"]["models"])
    found = assign(names, 52, benchmark("fed-llm-large").scenario)
    assert [found.models.count(name) for name in names] == [26, 26]
    assert assign(["llama1b", "llama3b"], 9, benchmark("hflb").scenario).official
    assert not assign(["llama1b", "llama3b"], 10, benchmark("glue").scenario).official


def test_a_misspelt_benchmark_gets_the_nearest_name():
    with pytest.raises(UnknownName, match="did you mean 'fed-aya'"):
        benchmark("fedaya")
