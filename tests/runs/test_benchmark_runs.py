"""`--benchmark`: runs on stand-ins, with backbones that see and with language models alone."""

import json

import pytest

import drake
from drake.config import configure
from drake.errors import DrakeError
from drake.runs.api import default_folder

TINY = {"train": 6, "test": 3, "public": 8}
FEW = {
    "data": TINY,
    "steps": 1,
    "rank": 2,
    "micro_batch": 2,
    "eval_records": 2,
    "eval_records_others": 1,
    "max_new_tokens": 2,
    "rounds": 2,
    "engine": "serial",
    "device": "cpu",
}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DRAKE_CACHE", str(tmp_path_factory.getbasetemp() / "stand-ins"))


@pytest.fixture(scope="module")
def texts(text_checkpoint):
    return [text_checkpoint("llama-4"), text_checkpoint("llama-6")]


def run(method, benchmark, models, out, **changes):
    return drake.evaluate(method, "quick", benchmark=benchmark, models=models, out=out, **FEW | changes)


def test_glue_runs_end_to_end_names_its_metrics_and_is_scored_again(micro_backbones, tmp_path):
    results = run("sft", "glue", [micro_backbones["llama-4"]], tmp_path / "run")
    assert (results.status, results.data.source, len(results.clients)) == ("complete", "glue-mini", 4)
    assert results.config["benchmark"] == "glue"
    assert results.config["metrics"] == ["F1+accuracy", "Matthews", "Pearson+Spearman", "accuracy"]
    assert drake.score(tmp_path / "run").runs[0].scores == results.runs[0].scores

    from drake_leaderboard.entries import row

    title = row(results, "run").track.title
    assert title.startswith("GLUE mini (means over F1+accuracy, Matthews, Pearson+Spearman, accuracy), dynamic, ")


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("method", ["fedit", "perada", "fedmosaic"])
def test_methods_run_on_language_models_alone(method, texts, tmp_path):
    models = texts[:1] if method == "fedit" else texts
    few = {"perada": {"perada": {"records": 4}}, "fedmosaic": {"fedmosaic": {"gradient_every": 1}}}
    results = run(method, "fed-scope", models, tmp_path / method, **few.get(method, {}))
    assert results.status == "complete"
    assert len(results.clients) == 5
    assert results.config["metrics"] == ["ROUGE-L"]
    own = results.runs[0].summary["official"].clients_last
    assert all(score is not None and 0 <= score <= 1 for score in own)
    assert all(loss is not None for losses in results.runs[0].train_loss for loss in losses)


@pytest.mark.usefixtures("undrawn")
def test_a_client_with_a_language_model_alone_is_exported_both_ways(texts, tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from drake.tools.export import export

    run("sft", "fed-scope", texts[:1], tmp_path / "run", eval_unseen="none")
    export(tmp_path / "run", 1, tmp_path / "adapter")
    export(tmp_path / "run", 1, tmp_path / "whole", merge=True)
    adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(texts[0]), tmp_path / "adapter")
    merged = adapted.merge_and_unload().state_dict()
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "whole").state_dict()
    plain = AutoModelForCausalLM.from_pretrained(texts[0]).state_dict()
    assert whole.keys() == merged.keys()
    assert all((whole[name] - merged[name]).abs().max() < 1e-6 for name in whole)
    assert any(not whole[name].equal(plain[name]) for name in whole)
    assert json.loads((tmp_path / "whole/config.json").read_text())["model_type"] == "llama"


def test_a_task_with_pictures_is_refused_before_anything_is_trained(texts, tmp_path):
    with pytest.raises(DrakeError, match=r"reads text alone, and the records of GQA-10 have pictures"):
        run("sft", "hflb", texts[:1], tmp_path / "run")


def test_data_of_another_benchmark_is_refused(micro_data, micro_backbones, tmp_path):
    settings = FEW | {"data": {**TINY, "path": micro_data}}
    with pytest.raises(DrakeError, match=r"DRAKE mini is not GLUE, which has 4 clients .* leave --benchmark out"):
        drake.evaluate(
            "sft", "quick", benchmark="glue", models=[micro_backbones["llama-4"]], out=tmp_path / "run", **settings
        )


def test_a_benchmark_changes_the_preset_and_gives_way_to_options():
    config = configure("sft", "paper", benchmark="fed-aya")
    assert (config.training.rank, config.training.steps, config.training.learning_rate) == (16, 50, 3e-4)
    assert config.models == ("meta-llama/Llama-3.2-1B-Instruct", "meta-llama/Llama-3.2-3B-Instruct")
    assert configure("sft", "paper", benchmark="fed-aya", steps=3).training.steps == 3
    assert configure("sft", "quick", benchmark="fed-llm-large").training.steps == 4
    assert default_folder(config).name == "sft-fed-aya-paper"
    assert default_folder(configure("sft", "paper")).name == "sft-paper"


def test_the_list_of_benchmarks_and_what_is_known_of_one():
    from click.testing import CliRunner

    from drake.cli import drake as command

    listed = CliRunner().invoke(command, ["benchmarks"], catch_exceptions=False).output
    assert all(name in listed for name in ("hflb", "fed-llm-large", "fed-aya", "fed-scope", "glue-mini"))
    about = CliRunner().invoke(command, ["benchmarks", "glue"], catch_exceptions=False).output
    assert about.startswith("GLUE: 4 clients, 8 tasks")
    assert "WNLI is left out" in about
    assert "drake build --source glue:PATH" in about
