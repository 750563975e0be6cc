"""`drake validate --rerun`: a seed trained again with the recorded settings gives the same bits, or a sentence."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from drake_leaderboard import rerun, submission, validation

from drake import evaluate
from drake.errors import DrakeError
from drake.results import load
from drake.scoring.predictions import prediction_path, read_predictions, write_predictions

SETTINGS: dict[str, Any] = {"rounds": 2, "clients": 2, "eval_records": 1, "eval_records_others": 1, "steps": 1}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, micro_data: str) -> tuple[Path, Path, str]:
    """(a run, a submission of it, its data): two clients of the embedded backbones, two rounds of one step."""
    root = tmp_path_factory.mktemp("rerun")
    batches = {"micro_batch": 1, "accumulation": 1}
    run = root / "run"
    evaluate("fedit", "quick", out=run, data=micro_data, engine="serial", device="cpu", training=batches, **SETTINGS)
    return run, submission.submit(run, root / "submissions" / "mine", micro_data), micro_data


def test_a_seed_that_is_trained_again_gives_the_same_bits(trained: tuple[Path, Path, str]) -> None:
    _, folder, data = trained
    lines = list(validation.report([folder], data, rerun=[0]))
    assert f"{folder}: seed 0 trained again gives the same bits." in lines
    assert not any(line.startswith("refused") for line in lines)
    assert f'sha256 = "{validation.ticket_digest(folder)}"' in lines[-1]


def test_answers_that_training_does_not_give_are_refused(
    trained: tuple[Path, Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, folder, data = trained
    monkeypatch.setattr(rerun, "execute", lambda setup, out: shutil.copytree(run, out))
    results = load(folder)
    assert rerun.differences(folder, results, 0, data) == []
    forged = shutil.copytree(folder, tmp_path / "forged")
    path = prediction_path(forged, 0, len(results.runs[0].rounds))
    rows = read_predictions(path)
    write_predictions(path, [rows[0]._replace(text=rows[0].gold + "!"), *rows[1:]])
    (sentence,) = rerun.differences(forged, results, 0, data)
    assert "1 of" in sentence
    assert f"the first to {rows[0].id} by client {rows[0].client}" in sentence


def test_what_cannot_be_run_again_is_one_sentence(trained: tuple[Path, Path, str]) -> None:
    _, folder, data = trained
    results = load(folder)

    def refusal(seed: int = 0, **changes: Any) -> str:
        with pytest.raises(DrakeError) as error:
            rerun.differences(folder, results.model_copy(update=changes), seed, data)
        return str(error.value)

    config = results.config
    numbers = config["numbers"]
    assert isinstance(numbers, dict)
    assert isinstance(numbers["training"], dict)
    huge = numbers | {"training": numbers["training"] | {"rank": 8000}}
    assert "has no seed 7" in refusal(7)
    assert "is not registered" in refusal(method=results.method.model_copy(update={"name": "evil:Payload"}))
    named = results.models.model_copy(update={"names": ["/etc"], "revisions": {"/etc": "1"}})
    assert "'/etc' does not come with drake" in refusal(models=named)
    assert "expected on a CPU" in refusal(config=config | {"device": "cuda"})
    assert "more than a rerun takes" in refusal(config=config | {"numbers": huge})
    assert "cannot be run again as it was recorded" in refusal(
        config=config | {"numbers": numbers | {"eval_tokens": 99}}
    )
    assert "public records of another source" in refusal(config=config | {"public": {"most": 1}})
