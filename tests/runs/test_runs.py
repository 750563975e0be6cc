"""Whole runs on micro backbones: what a user gets, the same bits again, and going on after a stop."""

import os
import shutil

import pytest
import torch
from drake_baselines.sft import SFT
from stopping import Stop

from drake.config import Config, configure, preset
from drake.data.benchmark import load as load_data
from drake.errors import DrakeError
from drake.federation.callbacks import Callback
from drake.federation.checkpoint import Checkpoints
from drake.results import load
from drake.runs import Setup, evaluate
from drake.runs.folder import checkpoint_folder, read_identity, working
from drake.scoring.predictions import read_predictions

pytestmark = pytest.mark.usefixtures("undrawn")
CLIENTS = 4
"""Two of each backbone."""


def settings(micro_backbones, micro_data, method="fedmosaic", **changes) -> Config:
    """Two rounds, a point after each."""
    numbers = {"steps": 2, "training.dropout": 0.05, "micro_batch": 2, "eval_records": 1, "max_new_tokens": 2}
    numbers |= {"rounds": 2, "eval_every": 1, "clients": CLIENTS}
    models = (micro_backbones["llama-4"], micro_backbones["llama-6"])
    return configure(method, "quick", **numbers | {"models": models, "data": micro_data, "device": "cpu"} | changes)


def of_one_round(micro_backbones, micro_data, **changes) -> Setup:
    """A run of SFT over one round, with answers of which some may be right."""
    numbers = {"rounds": 1, "eval_records": 2, "max_new_tokens": 4}
    return Setup(settings(micro_backbones, micro_data, "sft", **numbers | changes))


def scores(results):
    return [run.model_dump(include={"scores", "zero_shot", "unparsed", "summary", "train_loss", "traffic", "relevance"})
            for run in results.runs]  # fmt: skip


@pytest.fixture(scope="module")
def finished(micro_backbones, micro_data, tmp_path_factory):
    """(run folder, results) of an undisturbed FedMosaic run."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    return out, evaluate(Setup(settings(micro_backbones, micro_data)), out)


@pytest.fixture(scope="module")
def of_one_seed(micro_backbones, micro_data, tmp_path_factory):
    """The folder of a finished run of one round, to be copied."""
    out = tmp_path_factory.mktemp("runs") / "short"
    evaluate(of_one_round(micro_backbones, micro_data), out)
    return out


@pytest.fixture
def short(of_one_seed, tmp_path):
    """A copy of the finished run of one round."""
    return shutil.copytree(of_one_seed, tmp_path / "run")


def test_a_run_leaves_results_predictions_and_a_picture(finished):
    out, results = finished
    assert load(out) == results
    assert results.status == "complete"
    assert results.runs[0].rounds == [1, 2]
    assert [len(point) for point in results.runs[0].begun] == [8, 16]
    assert (out / "curves.png").stat().st_size > 10_000
    assert Checkpoints(checkpoint_folder(out, 0)).load().rounds_done == 2
    assert not list((out / "checkpoints").rglob("*.parquet"))
    rows = read_predictions(out / "predictions/seed-0/point-2.parquet")
    assert len(rows) == CLIENTS * 16
    assert {row.round for row in rows} == {2}


def test_every_client_answers_every_task_that_has_begun_and_no_other(finished):
    _, results = finished
    run = results.runs[0]
    for begun, matrix in zip(run.begun, run.scores["official"], strict=True):
        for row in matrix:
            assert {task for task, score in zip(run.tasks, row, strict=True) if score is not None} == set(begun)


def test_traffic_is_counted_for_every_client_round_and_direction(finished):
    _, results = finished
    run = results.runs[0]
    assert {(row.round, row.client, row.direction) for row in run.traffic} == {
        (round, client, direction) for round in (1, 2) for client in range(CLIENTS) for direction in ("up", "down")
    }
    assert {row.kind for row in run.traffic if row.direction == "up"} == {"A", "B", "P", "Q", "gradient"}
    assert len(run.relevance) == 2
    assert run.relevance[0][3][3] == pytest.approx(1, abs=1e-5)


def test_a_run_records_the_operations_of_its_training(finished, micro_backbones, micro_data):
    """The tokens of every round, each as dear as in the round that was counted."""
    _, results = finished
    setup = Setup(settings(micro_backbones, micro_data))
    worker, tokens = setup.worker(0), dict.fromkeys(setup.backbones, 0)
    for client in setup.clients:
        for round in range(2):
            for step in worker.plan(client.id, round):
                width = max(
                    worker.backbone(client.backbone).batch([r], answers=True).input_ids.shape[1] for r in step[0]
                )
                tokens[client.backbone] += len(step[0]) * width
    progress = Checkpoints(checkpoint_folder(finished[0], 0)).load()
    assert progress.tokens == tokens
    assert results.runs[0].flops == sum(progress.per_token[name] * tokens[name] for name in tokens) > 0
    assert 0 < results.runs[0].seconds_aggregation < results.runs[0].seconds_train


def test_the_same_seed_gives_the_same_scores_to_the_last_digit(finished, micro_backbones, micro_data, tmp_path):
    again = evaluate(Setup(settings(micro_backbones, micro_data)), tmp_path / "again")
    assert scores(again) == scores(finished[1])


class _Starts(Callback):
    """Hears who takes part in which round, and who was done already."""

    def __init__(self) -> None:
        self.heard = []

    def round_started(self, round):
        done = {client: result.stats.get("loss") for client, result in sorted(round.results.items())}
        self.heard.append((round.number, round.participants, done))


@pytest.mark.parametrize(
    ("event", "count"), [("client_trained", 2), ("answered", 5), ("evaluated", 2), ("round_finished", 1)]
)
def test_a_stopped_run_goes_on_to_the_same_bits(finished, micro_backbones, micro_data, tmp_path, event, count):
    out = tmp_path / "stopped"
    stop = Stop(event, count, lambda context: event != "answered" or context.answered)
    with pytest.raises(KeyboardInterrupt):
        evaluate(Setup(settings(micro_backbones, micro_data)), out, callbacks=[stop])
    assert load(out).status == "interrupted"
    assert bool(list(out.glob("checkpoints/*/point-*/*/*.parquet"))) == (event == "answered")  # what had been answered
    starts = _Starts()
    assert scores(evaluate(Setup(settings(micro_backbones, micro_data)), out, callbacks=[starts])) == scores(
        finished[1]
    )
    if event == "client_trained":  # two had trained in the first round
        losses, everyone = finished[1].runs[0].train_loss[0], set(range(CLIENTS))
        assert starts.heard == [(0, everyone, dict(enumerate(losses[:2]))), (1, everyone, {})]


def test_a_complete_run_is_returned_without_being_run_again(finished, micro_backbones, micro_data):
    out, results = finished
    found = evaluate(Setup(settings(micro_backbones, micro_data)), out, callbacks=[Stop("client_trained", 1)])
    assert found == results


def test_a_folder_of_another_run_is_refused_and_replaced_only_when_asked(short, micro_backbones, micro_data):
    with pytest.raises(DrakeError, match=r"already holds another run \(it differs in .*seeds"):
        evaluate(of_one_round(micro_backbones, micro_data, seeds=(5,)), short)
    with pytest.raises(DrakeError, match="already holds this run"):
        evaluate(of_one_round(micro_backbones, micro_data), short, "never")
    evaluate(of_one_round(micro_backbones, micro_data, seeds=(5,)), short, "always")
    assert read_identity(short)["seeds"] == [5]


@pytest.mark.parametrize("overwrite", ["only-missing", "always"])
def test_a_run_that_another_process_works_on_is_refused(short, micro_backbones, micro_data, overwrite):
    setup, results = of_one_round(micro_backbones, micro_data), load(short)
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        with working(short):
            os.write(ready[1], b".")
            os.read(done[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    asked = of_one_round(micro_backbones, micro_data, seeds=(*setup.config.seeds, 5))
    try:
        with pytest.raises(DrakeError, match="another process is working on"):
            evaluate(asked, short, overwrite)
        assert evaluate(setup, short) == results  # it is complete, and nothing is written
    finally:
        os.write(done[1], b".")
        os.waitpid(child, 0)
    assert evaluate(setup, short) == results


def test_a_folder_that_is_no_run_is_left_alone(micro_backbones, micro_data, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(DrakeError, match="holds no run"):
        evaluate(Setup(settings(micro_backbones, micro_data, "sft")), tmp_path, "always")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_checkpoint_folder_with_a_config_of_its_own_is_never_deleted(micro_backbones, micro_data, tmp_path):
    precious = tmp_path / "checkpoint"
    shutil.copytree(micro_backbones["llama-4"], precious)
    with pytest.raises(DrakeError, match="holds no run"):
        evaluate(Setup(settings(micro_backbones, micro_data, "sft")), precious, "always")
    assert (precious / "model.safetensors").exists()


def test_clients_that_are_out_keep_what_they_have_and_get_the_newest_when_they_are_back(
    micro_backbones, micro_data, tmp_path
):
    asked = settings(micro_backbones, micro_data, participation=0.5, client_dropout=0.2, clients=10)
    asked = asked.with_(rounds=4, eval_every=4, max_new_tokens=1)
    some = Setup(asked).participation
    results = evaluate(Setup(asked), tmp_path / "some")
    run = results.runs[0]
    there = [some.present(Setup(asked).federation(0, None), round) for round in range(4)]
    for round, clients in enumerate(there, start=1):
        trained = {client for client, loss in enumerate(run.train_loss[round - 1]) if loss is not None}
        crossed = {d: {t.client for t in run.traffic if t.round == round and t.direction == d} for d in ("up", "down")}
        assert trained == crossed["up"] == crossed["down"] == set(clients)
    kinds = {(t.round, t.client): 0 for t in run.traffic}
    for row in run.traffic:
        kinds[row.round, row.client] += row.direction == "down" and row.kind == "P"
    back = {i for i in there[2] if i not in there[1] and i in there[0]}
    assert back
    assert {kinds[3, i] for i in back} == {2}  # what waited, and what was mixed after the round

    out = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        evaluate(Setup(asked), out, callbacks=[Stop("client_trained", sum(map(len, there[:2])) + 2)])
    assert scores(evaluate(Setup(asked), out)) == scores(results)


@pytest.fixture(scope="module")
def of_two_seeds(micro_backbones, micro_data, tmp_path_factory):
    """The results of a run of one round with seeds 0 and 5."""
    return evaluate(of_one_round(micro_backbones, micro_data, seeds=(0, 5)), tmp_path_factory.mktemp("runs") / "two")


def test_a_run_is_given_another_seed_and_keeps_those_it_has(short, of_two_seeds, micro_backbones, micro_data):
    def asked(*seeds):
        return of_one_round(micro_backbones, micro_data, seeds=seeds)

    starts = _Starts()
    assert read_identity(short)["seeds"] == [0]
    results = evaluate(asked(0, 5), short, callbacks=[starts])
    assert len(starts.heard) == 1
    assert read_identity(short)["seeds"] == [0, 5]
    assert scores(results) == scores(of_two_seeds)
    assert load(short) == results

    shutil.rmtree(short / "checkpoints")  # those who have finished need them no more
    with pytest.raises(KeyboardInterrupt):
        evaluate(asked(0, 5, 3), short, callbacks=[Stop("client_trained", 2)])
    assert load(short) == results
    final = evaluate(asked(0, 5, 3), short, callbacks=[starts])
    assert starts.heard[1:] == [(0, set(range(CLIENTS)), dict(enumerate(final.runs[2].train_loss[0][:2])))]
    assert [run.seed for run in final.runs] == [0, 5, 3]
    assert final.runs[:2] == results.runs
    for others in ((0, 5), (5, 0, 3, 2)):
        with pytest.raises(DrakeError, match="already holds another run"):
            evaluate(asked(*others), short)


def test_static_split_has_begun_all_tasks_at_once(micro_backbones, micro_data, tmp_path):
    asked = settings(micro_backbones, micro_data, "sft", split="static")
    results = evaluate(Setup(asked), tmp_path / "static")
    assert results.runs[0].rounds == [1, 2]
    assert all(len(begun) == 16 for begun in results.runs[0].begun)


def test_two_seeds_train_differently_and_give_a_mean_and_a_standard_error(of_two_seeds):
    assert of_two_seeds.runs[0].train_loss != of_two_seeds.runs[1].train_loss
    first, second = (run.summary["official"].others_last for run in of_two_seeds.runs)
    found = of_two_seeds.summary["official"]["others_last"]
    assert found.mean == pytest.approx((first + second) / 2)
    assert found.stderr == pytest.approx(abs(first - second) / 2)


def test_sft_sends_nothing(of_one_seed):
    run = load(of_one_seed).runs[0]
    assert len(run.train_loss[0]) == CLIENTS
    assert run.traffic == []


def test_a_method_that_cannot_mix_backbones_is_refused_more_than_one(micro_backbones, micro_data, monkeypatch):
    monkeypatch.setattr(SFT, "mixed", False)
    with pytest.raises(DrakeError, match=r"sft needs one backbone for all clients, not .*llama-4, .*llama-6"):
        Setup(settings(micro_backbones, micro_data, "sft"))
    assert Setup(settings(micro_backbones, micro_data, "sft", models=(micro_backbones["llama-4"],))).rounds


def test_bfloat16_backbones_run_on_a_cpu_with_adapters_in_float32(micro_backbones, micro_data, tmp_path, finished):
    results = evaluate(Setup(settings(micro_backbones, micro_data, dtype="bfloat16", rounds=1)), tmp_path / "bf16")
    weight = lambda run: sum(r.bytes for r in run.traffic if r.round == 1 and r.kind == "A")  # noqa: E731
    assert weight(results.runs[0]) == weight(finished[1].runs[0])
    assert results.environment.dtype == "bfloat16"


def test_two_families_and_three_architectures_federate(micro_backbones, micro_data, tmp_path):
    asked = settings(micro_backbones, micro_data, models=tuple(micro_backbones.values()), rounds=1)
    results = evaluate(Setup(asked), tmp_path / "families")
    assert len(results.models.names) == 3
    assert len(results.runs[0].relevance[0]) == CLIENTS


def test_the_plan_of_batches_depends_on_the_seed_and_the_client_alone(micro_backbones, micro_data):
    setup = Setup(settings(micro_backbones, micro_data, rounds=None))
    assert setup.rounds == 4  # one for each task of a client
    first, again = (setup.plan(0, setup.method()) for _ in range(2))
    ids = lambda plan, client, round: [r["id"] for step in plan(client, round) for part in step for r in part]  # noqa: E731
    assert ids(first, 3, 2) == ids(again, 3, 2)
    assert ids(first, 3, 2) != ids(setup.plan(1, setup.method()), 3, 2)
    own = set(load_data(micro_data).clients[3][:3])
    assert {id.split("/")[0] for id in ids(first, 3, 2)} <= own


def test_the_task_a_client_learns_changes_with_the_phases_of_the_stream(micro_backbones, micro_data):
    setup = Setup(settings(micro_backbones, micro_data, rounds=None, rounds_per_task=1.5))
    client = setup.clients[3]
    a, b, c, d = client.tasks
    assert [setup.learning(client, round) for round in range(setup.rounds)] == [a, a, b, c, c, d]
    mixed = Setup(settings(micro_backbones, micro_data, split="static"))
    assert mixed.learning(client, 0) is None


def test_a_folder_for_encoded_pictures_is_no_part_of_what_a_run_is(micro_backbones, micro_data, tmp_path):
    plain = Setup(settings(micro_backbones, micro_data))
    cached = Setup(settings(micro_backbones, micro_data, feature_cache=str(tmp_path / "features")))
    record = plain.test_record(plain.tasks[0], 0)
    for name, backbone in plain.backbones.items():
        expected = backbone.batch([record], answers=False).inputs["inputs_embeds"]
        found = cached.backbones[name].batch([record], answers=False).inputs["inputs_embeds"]
        assert torch.equal(found, expected)
    assert len(list((tmp_path / "features").glob("*/*.safetensors"))) == 2
    assert cached.identity() == plain.identity()
    with pytest.raises(DrakeError, match=r"feature_cache_gb is 0.*; it must be more than zero"):
        Setup(settings(micro_backbones, micro_data, feature_cache_gb=0))


def test_compiled_training_is_part_of_what_a_run_is(micro_backbones, micro_data, monkeypatch):
    asked = settings(micro_backbones, micro_data, compile=True)
    monkeypatch.setattr("drake.runs.setup.check_compiler", lambda device: None)
    setup = Setup(asked)
    assert setup.identity() == Setup(settings(micro_backbones, micro_data)).identity() | {"compile": True}
    for backbone in setup.backbones.values():
        assert all("forward" in vars(layer) for layer in backbone.model.model.language_model.layers)

    def refuse(device):
        raise DrakeError(f"no compiler for {device}.")

    monkeypatch.setattr("drake.runs.setup.check_compiler", refuse)
    with pytest.raises(DrakeError, match="no compiler for cpu"):
        Setup(asked)
    elsewhere = Setup(settings(micro_backbones, micro_data, compile=True, device="cuda"), resident="cpu")
    assert not elsewhere.compiled  # this process does not train
    assert elsewhere.identity()["compile"]


def test_equal_compute_gives_fedmosaic_fewer_steps(micro_backbones, micro_data):
    training = preset("paper").training
    assert training.steps_by_round(1.0, 2) == [100, 100]
    assert training.steps_by_round(Setup(settings(micro_backbones, micro_data)).method().relative_cost, 2) == [87, 88]
    assert sum(preset("mini").training.steps_by_round(100 / 94, 20)) == 150  # of 8 x 20, with 7 or 8 in a round
    assert set(preset("mini").training.steps_by_round(100 / 94, 20)) == {7, 8}


def test_nan_uploads_are_refused_with_the_clients_number():
    from drake.federation.loop import check_finite

    with pytest.raises(DrakeError, match="client 3 has NaN"):
        check_finite(3, {"0.mlp.up_proj.P": torch.tensor([float("nan")])})
