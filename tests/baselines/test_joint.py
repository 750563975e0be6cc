"""Joint training: one model per backbone on the pooled records of its clients, in the same number of steps."""

from collections import Counter

import pytest
import torch
from stopping import Stop

from drake.config import configure
from drake.engines.serial import Serial
from drake.errors import DrakeError
from drake.federation.callbacks import Callback, RunContext
from drake.federation.loop import run_rounds
from drake.runs import Setup, evaluate
from drake.runs.api import execute
from drake.runs.pooling import pooled
from drake.scoring.predictions import read_predictions

pytestmark = pytest.mark.usefixtures("undrawn")
SAME = {"steps": 2, "micro_batch": 2, "rounds": 2, "clients": 4}
SAME |= {"eval_every": 2, "eval_records": 1, "max_new_tokens": 2}


@pytest.fixture(scope="module")
def setup(micro_backbones, micro_data):
    def made(method="joint", **changes):
        models = (micro_backbones["llama-4"], micro_backbones["llama-6"])
        return Setup(configure(method, "quick", models=models, data=micro_data, device="cpu", **SAME | changes))

    return made


@pytest.fixture(scope="module")
def whole(setup, tmp_path_factory):
    folder = tmp_path_factory.mktemp("joint") / "whole"
    return folder, evaluate(setup(evaluate_at="trained", also_aggregated=True), folder)


def test_records_are_dealt_out_so_that_batches_mix_clients():
    assert pooled([[["a1", "a2"], ["a3", "a4"]], [["b1", "b2"]]]) == [["a1", "b1"], ["a2", "b2"], ["a3", "a4"]]
    assert pooled([[], []]) == []
    batches = pooled([[[(client, j) for j in range(4)]] for client in range(5)])
    assert [len(batch) for batch in batches] == [4] * 5
    assert all(len({client for client, _ in batch}) == 4 for batch in batches)


def test_the_first_client_of_a_backbone_trains_on_the_records_of_all(setup):
    alone, together = setup("sft"), setup()
    plans = alone.worker(0).plan, together.worker(0).plan
    ids = lambda steps: Counter(record["id"] for step in steps for batch in step for record in batch)  # noqa: E731
    for backbone in together.architectures:
        peers = [client.id for client in together.clients if client.backbone == backbone]
        for round in range(2):
            each = [plans[0](client, round) for client in peers]
            steps = plans[1](peers[0], round)
            assert len(steps) == sum(map(len, each))
            assert ids(steps) == sum(map(ids, each), Counter())
            assert all(plans[1](client, round) == [] for client in peers[1:])


def test_all_clients_of_a_backbone_hold_its_one_adapter_and_nothing_crosses(setup):
    worker, kept = setup().worker(0), []

    class Keep(Callback):
        def round_trained(self, round):
            kept.append(dict(round.run.progress.states))

    progress = run_rounds(Serial(worker), RunContext(worker.federation, worker.method), [Keep()])
    for states in kept:
        for client in worker.federation.clients:
            first = states[worker.federation.peers(client.id)[0]]
            assert all(torch.equal(states[client.id][name], tensor) for name, tensor in first.items())
    assert not torch.equal(kept[0][0]["0.mlp.up_proj.B"], kept[1][0]["0.mlp.up_proj.B"])
    assert progress.traffic == []
    assert [sorted(losses) for losses in progress.losses] == [[0, 1], [0, 1]]


def test_its_clients_answer_alike_at_both_moments(whole):
    folder, results = whole
    assert results.runs[0].aggregated.scores == results.runs[0].scores
    rows = read_predictions(folder / "predictions/seed-0/point-1.parquet")
    answers = {}
    for row in rows:
        answers.setdefault((results.models.per_client[row.client], row.id), set()).add(row.text)
    assert all(len(texts) == 1 for texts in answers.values())


@pytest.mark.parametrize("count", [1, 7])  # after the first client alone, and among those who take over
def test_a_stopped_run_goes_on_to_the_same_bits(whole, setup, tmp_path, count):
    asked = setup(evaluate_at="trained", also_aggregated=True)
    with pytest.raises(KeyboardInterrupt):
        evaluate(asked, tmp_path / "run", callbacks=[Stop("client_trained", count)])
    again = evaluate(setup(evaluate_at="trained", also_aggregated=True), tmp_path / "run").runs[0]
    for name in ("scores", "aggregated", "train_loss"):
        assert getattr(again, name) == getattr(whole[1].runs[0], name)


def test_processes_train_and_answer_the_same(whole, setup, tmp_path):
    asked = setup(evaluate_at="trained", also_aggregated=True, engine="processes", workers=2)
    found = execute(asked, tmp_path / "run").runs[0]
    assert (found.scores, found.train_loss) == (whole[1].runs[0].scores, whole[1].runs[0].train_loss)


def test_it_has_no_absent_clients(setup):
    with pytest.raises(DrakeError, match="joint trains one model for all clients of a backbone; leave --participation"):
        setup(participation=0.5)
