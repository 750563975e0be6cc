"""The cards of exported models, and results in the formats of the Hugging Face Hub and of Every Eval Ever."""

import json
from dataclasses import asdict

import pytest
import yaml
from click.testing import CliRunner
from huggingface_hub import ModelCard, parse_eval_result_entries
from jsonschema import Draft7Validator

from drake.cli.main import drake
from drake.config import preset
from drake.errors import DrakeError
from drake.results import load
from drake.results.converters import every_eval_ever, hub_dataset
from drake.results.schema import DataInfo
from drake.runs.stored import StoredRun
from drake.tools.model_card import Exported, write

TRAINING = asdict(preset("mini").training) | {"learning_rate": 1e-3}
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
RESULT = {
    "type": "object",
    "required": ["evaluation_name", "source_data", "metric_config", "score_details"],
    "properties": {
        "evaluation_result_id": {"type": "string"},
        "source_data": {
            "required": ["dataset_name", "source_type"],
            "properties": {"source_type": {"enum": ["other", "hf_dataset"]}, "additional_details": TEXTS},
            "if": {"properties": {"source_type": {"const": "hf_dataset"}}},
            "then": {"required": ["hf_repo"]},
        },
        "metric_config": {
            "required": ["lower_is_better", "min_score", "max_score"],
            "properties": {"score_type": {"const": "continuous"}, "lower_is_better": {"const": False}},
        },
        "score_details": {
            "required": ["score"],
            "properties": {
                "score": {"type": "number"},
                "details": TEXTS,
                "uncertainty": {
                    "properties": {
                        "standard_error": {"required": ["value"], "properties": {"value": {"type": "number"}}},
                        "num_samples": {"type": "integer"},
                    }
                },
            },
        },
        "generation_config": {
            "properties": {
                "generation_args": {
                    "additionalProperties": False,
                    "properties": {"temperature": {"type": ["number", "null"]}, "max_tokens": {"minimum": 1}},
                },
                "additional_details": TEXTS,
            }
        },
    },
}
EVERY_EVAL_EVER = {
    "type": "object",
    "required": [
        "schema_version", "evaluation_id", "retrieved_timestamp", "source_metadata", "model_info", "eval_library",
        "evaluation_results",
    ],
    "additionalProperties": False,
    "properties": {
        "schema_version": {"const": "0.2.2"},
        "evaluation_id": {"type": "string"},
        "evaluation_timestamp": {"type": "string"},
        "retrieved_timestamp": {"type": "string"},
        "source_metadata": {
            "required": ["source_type", "source_organization_name", "evaluator_relationship"],
            "properties": {
                "source_type": {"enum": ["documentation", "evaluation_run"]},
                "evaluator_relationship": {"enum": ["first_party", "third_party", "collaborative", "other"]},
            },
        },
        "eval_library": {"required": ["name", "version"]},
        "model_info": {"required": ["name", "id"], "properties": {"additional_details": TEXTS}},
        "evaluation_results": {"type": "array", "minItems": 1, "items": RESULT},
    },
}  # fmt: skip
"""What we write of version 0.2.2 of its schema, in our words: which keys must be there, and of which types."""


def exported(run, client=0, backbone="tiny-llama-s", merged=False, method="sft"):
    config = {
        "method": method, "options": {}, "numbers": {"training": TRAINING}, "assignment": [backbone] * 2,
        "revisions": {backbone: "1"}, "seeds": [0], "dtype": "float32", "evaluation_rounds": [1, 2],
    }  # fmt: skip
    (run / "identity.json").write_text(json.dumps(config))
    return Exported(run, StoredRun.model_validate(config), client, 0, merged)


def card(run, folder, dataset_id=None, **changes):
    folder.mkdir()
    write(exported(run, **changes), folder, dataset_id)
    return ModelCard.load(folder / "README.md")


def test_a_card_says_what_the_model_is_and_what_it_scored(fabricate, tmp_path):
    run = fabricate(right=(1, 3))
    found = card(run, tmp_path / "adapter")
    results = load(run)
    (seed,), own = results.runs, results.clients[0].tasks
    scored = {task: seed.scores["official"][-1][0][seed.tasks.index(task)] for task in own}
    assert (found.data.license, found.data.library_name, found.data.base_model) == ("apache-2.0", "peft", None)
    assert "lora" in found.data.tags
    assert found.data.model_name == "sft-client-0"
    assert {r.dataset_config: r.metric_value for r in found.data.eval_results} == {
        task: round(100 * score, 2) for task, score in scored.items()
    }
    assert {r.metric_type for r in found.data.eval_results} <= {"accuracy", "f1"}
    assert {r.dataset_args["records"] for r in found.data.eval_results} == {4}
    for part in (
        "| Learning rate | 0.001 |",
        "The personal model of client 0 in a federation of 2",
        "PeftModel",
        "WEIGHTS_FOLDER",
    ):
        assert part in found.text
    assert f"Mean over its own tasks: {100 * sum(scored.values()) / len(own):.2f}% (official)." in found.text
    assert not (tmp_path / "adapter/.eval_results").exists()  # no dataset of the Hub is known


def test_scores_of_the_model_before_an_aggregation_are_no_metadata(fabricate, tmp_path):
    run = fabricate(method="fedit", evaluate_at="trained")
    found = card(run, tmp_path / "adapter", "lab/drake", method="fedit")
    assert found.data.eval_results is None
    assert "before the last aggregation" in found.text
    assert not (tmp_path / "adapter/.eval_results").exists()
    shown = CliRunner().invoke(drake, ["convert", str(run), "--to", "hub", "--client", "0", "--out", str(tmp_path)])
    assert "scored client 0 before the last aggregation" in str(shown.exception)


def test_a_run_without_results_gets_a_card_without_scores(tmp_path):
    (tmp_path / "run").mkdir()
    found = card(tmp_path / "run", tmp_path / "whole", backbone="llama1b", merged=True)
    assert "Not measured" in found.text
    assert (found.data.license, found.data.license_name) == ("other", "as-the-base-model")
    assert (found.data.base_model, found.data.to_dict()["base_model_relation"]) == (
        "thkim0305/llama3.2_1B_vl",
        "finetune",
    )
    assert found.data.library_name == "transformers"


def test_the_hubs_file_holds_every_task_of_the_client(fabricate, tmp_path):
    run = fabricate()
    card(run, tmp_path / "adapter", "lab/drake-mini")
    written = (tmp_path / "adapter/.eval_results/drake.yaml").read_text()
    entries = parse_eval_result_entries(yaml.safe_load(written))
    own = load(run).clients[0].tasks
    assert [(entry.dataset_id, entry.task_id) for entry in entries] == [("lab/drake-mini", task) for task in own]
    assert {entry.value for entry in entries} == {75.0}
    assert entries[0].date == "2026-01-01T00:10:00+00:00"
    assert entries[0].notes == "percent; client 0 of 2, sft, seed 0; official matching, 4 test records"
    asked = ["convert", str(run), "--to", "hub", "--client", "0", "--out", str(tmp_path / "again")]
    assert "name the one that its scores belong to" in str(CliRunner().invoke(drake, asked).exception)
    shown = CliRunner().invoke(drake, [*asked, "--dataset-id", "lab/drake-mini"], catch_exceptions=False)
    assert (shown.exit_code, (tmp_path / "again/.eval_results/drake.yaml").read_text()) == (0, written)


def test_names_of_a_foreign_run_are_text_without_markup(fabricate, tmp_path):
    run = fabricate()
    results = load(run)
    data = results.data.model_copy(update={"name": "<img src=x>|`x`\n# heading"})
    (run / "results.json").write_text(results.model_copy(update={"data": data}).model_dump_json())
    found = card(run, tmp_path / "adapter")
    assert "<img" not in found.text
    assert "\n# heading" not in found.text
    assert "img src=xx heading, fingerprint" in found.text


@pytest.mark.parametrize("dataset_id", [None, "lab/drake-mini"])
def test_a_run_becomes_a_record_of_every_eval_ever(fabricate, tmp_path, dataset_id):
    run = fabricate(seeds=(0, 1))
    asked = ["convert", str(run), "--to", "every-eval-ever", "--model-id", "lab/sft", "--organization", "A lab"]
    asked += ["--out", str(tmp_path / "eee"), *(["--dataset-id", dataset_id] if dataset_id else [])]
    shown = CliRunner().invoke(drake, asked, catch_exceptions=False)
    path = next((tmp_path / "eee/data/drake-mini/lab/sft").glob("*.json"))
    assert shown.output.strip() == str(path)
    record = json.loads(path.read_text())
    Draft7Validator(EVERY_EVAL_EVER).validate(record)
    assert record["evaluation_id"] == f"drake-mini/lab/sft/{record['retrieved_timestamp']}"
    results = load(run)
    found = {result["evaluation_result_id"]: result for result in record["evaluation_results"]}
    mean = results.summary["official"]["self_last"]
    last = found["drake.self_last"]["score_details"]
    assert (last["score"], last["uncertainty"]["standard_error"]["value"]) == (mean.mean, mean.stderr)
    assert last["uncertainty"]["num_samples"] == 2
    own = {task for client in results.clients for task in client.tasks}
    assert {name.removeprefix("drake.own.") for name in found if name.startswith("drake.own.")} == own
    assert {r["source_data"].get("hf_repo") for r in found.values()} == {dataset_id}
    assert record["source_metadata"]["evaluator_relationship"] == "first_party"


def test_what_cannot_be_converted_is_one_sentence(fabricate, tmp_path):
    results = load(fabricate())
    with pytest.raises(DrakeError, match="--model-id is 'sft'; it must be of the form OWNER/NAME"):
        every_eval_ever(results, "sft", "A lab", 0.0)
    with pytest.raises(DrakeError, match="the run is interrupted; finish it"):
        every_eval_ever(results.model_copy(update={"status": "interrupted"}), "lab/sft", "A lab", 0.0)
    for arguments, sentence in (
        (["--to", "every-eval-ever"], "needs --model-id and --organization"),
        (["--to", "hub"], "needs --client"),
    ):
        shown = CliRunner().invoke(drake, ["convert", str(tmp_path / "runs/run"), *arguments, "--out", str(tmp_path)])
        assert sentence in str(shown.exception)


@pytest.mark.parametrize(
    ("path", "dataset"),
    [(None, None), ("hub:lab/data@abc", "lab/data"), ("lab/data", "lab/data"), ("/data/x", None), ("../a", None)],
)
def test_the_dataset_on_the_hub_is_read_from_where_the_run_read_it(fabricate, path, dataset):
    results = load(fabricate())
    data = DataInfo(**results.data.model_dump() | {"path": path})
    assert hub_dataset(results.model_copy(update={"data": data})) == dataset
