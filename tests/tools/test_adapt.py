"""`drake adapt` goes on from the final models of every method, and leaves the run as it is."""

import pytest

from drake.config import configure
from drake.engines.serial import Serial
from drake.engines.tasks import Job
from drake.federation import registry
from drake.federation.callbacks import RunContext
from drake.federation.checkpoint import CheckpointCallback, Checkpoints
from drake.federation.loop import run_rounds
from drake.runs import Setup
from drake.runs.engines import Engines, serial
from drake.runs.folder import checkpoint_folder, claim
from drake.scoring.predictions import read_predictions
from drake.tools.adapt import adapt

TASK = "HQ_Edit-0"
CHEAP = {"fedmosaic": {"align": "false"}, "perada": {"records": 2}, "takfl": {"records": 2}}
"""Options without which a round takes seconds."""
ACROSS_SIZES = ("fedmosaic", "takfl", "fedmkt")
"""Methods whose server does something else with a second backbone."""


def texts(folder, steps):
    paths = sorted(folder.glob(f"answers/seed-0/steps-{steps}/{TASK}/client-*.parquet"))
    return [row.text for path in paths for row in read_predictions(path)]


@pytest.mark.parametrize("name", registry.names())
def test_the_final_models_of_every_method_learn_an_unseen_task(
    name, micro_backbones, micro_data, tmp_path, monkeypatch
):
    models = [micro_backbones[size] for size in ("llama-4", "llama-6")[: 2 if name in ACROSS_SIZES else 1]]
    numbers = {"steps": 1, "micro_batch": 1, "accumulation": 1, "rounds": 1, "learning_rate": 0.1, "clients": 2}
    numbers |= {"eval_unseen": "last", "evaluation.records_unseen": 2, "max_new_tokens": 4, "seeds": [0]}
    asked = {"models": models, "data": micro_data, "device": "cpu", name: CHEAP.get(name, {})}
    setup = Setup(configure(name, "quick", **numbers, **asked))
    run = tmp_path / "run"
    claim(run, setup.identity(), "never", setup.config)
    worker = setup.worker(0)
    keep = CheckpointCallback(Checkpoints(checkpoint_folder(run, 0)))
    run_rounds(Serial(worker), RunContext(worker.federation, worker.method), [keep])
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}

    trained, train_on = [], Job.train_on

    def recorded(job, worker, steps):
        result = train_on(job, worker, steps)
        trained.append((job.client.id, len(steps), any((result.state[k] != job.state[k]).any() for k in job.state)))
        return result

    monkeypatch.setattr(Job, "train_on", recorded)
    found = adapt(setup, run, tmp_path / "adapt", [0, 4], Engines(lambda seed: Serial(worker)), [TASK])
    assert (found.steps, found.tasks, len(found.clients)) == ((0, 4), (TASK,), 2)
    assert found.scores["official"].shape == (1, 2, 2, 1)
    steps = int(4 / worker.method.relative_cost + 1e-9)
    assert trained == [(0, steps, True), (1, steps, True)]
    assert len(texts(tmp_path / "adapt", 0)) == len(texts(tmp_path / "adapt", 4)) == 4
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    again = adapt(setup, run, tmp_path / "adapt", [0, 4], Engines(serial(setup).of_seed), [TASK])
    assert (again.scores["official"] == found.scores["official"]).all()
    assert len(trained) == 2
