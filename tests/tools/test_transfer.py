"""Fine-tuning on one task and scoring on others: the rows, what is resumed, and the command."""

import json

import pytest

from drake import cli
from drake.config import configure
from drake.data.benchmark import load
from drake.engines.tasks import Job
from drake.errors import DrakeError, UnknownName
from drake.tools.transfer import ZERO_SHOT, Transfer, from_names


@pytest.fixture
def job(micro_backbones, micro_data):
    def made(
        method="sft", train=("NLVR2-0", "VSR-0"), test=("VSR-0", "IRFL-0"), steps=2, seed=0, own=False, **more
    ) -> Transfer:
        numbers = {"micro_batch": 2, "eval_records": 3, "max_new_tokens": 4, "seeds": [seed]}
        config = configure(method, "quick", models=[micro_backbones["llama-4"]], **numbers, **more)
        return from_names(config, load(micro_data), train, test, steps, own)

    return made


def stored(folder):
    return {path.stem: json.loads(path.read_text()) for path in (folder / "rows").iterdir()}


def test_a_row_for_no_training_and_for_each_task_with_all_test_tasks(job, tmp_path):
    told = []
    rows = job().run(tmp_path / "out", lambda row, scores: told.append(row))
    assert list(rows) == told == [ZERO_SHOT, "NLVR2-0", "VSR-0"]
    assert all(set(scores) == {"VSR-0", "IRFL-0"} for scores in rows.values())
    thirds = {0.0, 1 / 3, 2 / 3, 1.0}  # three records each
    assert all(score in thirds for scores in rows.values() for score in scores.values())
    found = json.loads((tmp_path / "out" / "transfer.json").read_text())
    assert found["scores"] == rows == stored(tmp_path / "out")
    assert found["config"]["train_tasks"] == ["NLVR2-0", "VSR-0"]
    assert found["config"]["steps"] == 2


def test_own_scores_each_task_on_itself_alone(job, tmp_path):
    rows = job(own=True).run(tmp_path / "out")
    assert {row: set(scores) for row, scores in rows.items()} == {
        ZERO_SHOT: {"VSR-0", "IRFL-0"},
        "NLVR2-0": {"NLVR2-0"},
        "VSR-0": {"VSR-0"},
    }


def test_a_stopped_run_goes_on_with_the_next_row(job, tmp_path, monkeypatch):
    trained = []
    real = Job.__call__

    def counted(asked, worker):
        steps = worker.plan(asked.client.id, asked.round)
        trained.append((asked.client.tasks, [[record["id"] for part in step for record in part] for step in steps]))
        return real(asked, worker)

    monkeypatch.setattr(Job, "__call__", counted)
    whole = job().run(tmp_path / "whole")
    undisturbed = list(trained)
    assert [tasks for tasks, _ in undisturbed] == [("NLVR2-0",), ("VSR-0",)]
    assert all(id.startswith("VSR-0/train/") for step in undisturbed[1][1] for id in step)

    def stop(row, scores):
        if row == "NLVR2-0":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job().run(tmp_path / "out", stop)
    assert set(stored(tmp_path / "out")) == {ZERO_SHOT, "NLVR2-0"}
    assert not (tmp_path / "out" / "transfer.json").exists()
    trained.clear()
    assert job().run(tmp_path / "out") == whole
    assert trained == undisturbed[1:]
    trained.clear()
    assert job().run(tmp_path / "out") == whole
    assert trained == []


def test_a_folder_of_another_job_is_refused(job, tmp_path):
    job(train=["VSR-0"], steps=1).run(tmp_path / "out")
    with pytest.raises(DrakeError, match=r"already holds another run \(it differs in seed \(0, now 1\), steps"):
        job(train=["VSR-0"], steps=2, seed=1).run(tmp_path / "out")


def test_without_names_it_is_all_tasks_and_the_presets_steps(job):
    found = job(train=None, test=None, steps=None)
    assert len(found.train_tasks) == len(found.test_tasks) == 47
    assert found.steps == found.config.training.steps * found.config.rounds_per_task == 8


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"train": ["NLVR2-0", "VSR-O"]}, UnknownName, "unknown task 'VSR-O'; did you mean 'VSR-0'"),
        ({"test": ["IRFL-9"]}, UnknownName, "unknown task 'IRFL-9'; did you mean 'IRFL-"),
        ({"method": "stf"}, UnknownName, "unknown method 'stf'; did you mean 'sft'"),
        ({"steps": 0}, DrakeError, "--steps is 0; it must be more than zero"),
    ],
)
def test_what_is_not_there_is_one_sentence(job, change, error, sentence):
    with pytest.raises(error, match=sentence):
        job(**change)


@pytest.mark.parametrize("own", [False, True])
def test_the_command_draws_a_matrix_where_there_is_one(micro_backbones, micro_data, tmp_path, capsys, own):
    out = tmp_path / "out"
    typed = ["transfer", "--model", micro_backbones["llama-4"], "--data", micro_data, "--preset", "quick"]
    typed += ["--train", "VSR-0", "--test", "IRFL-0", "--steps", "1", "--eval-records", "1", "--out", str(out)]
    cli.drake.main([*typed, *["--own"] * own], standalone_mode=False)
    assert (out / "transfer.png").exists() is not own
    assert capsys.readouterr().out.split() == (
        [f"{out}/transfer.json"] if own else [f"{out}/transfer.json,", f"{out}/transfer.png"]
    )
