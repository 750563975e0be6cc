"""One aggregation of PerAda and TAKFL against their formulas in plain PyTorch, for two families and two sizes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from distillation_world import NAMES, RATE, RECORDS, assert_close, kl, same, softmax
from drake_baselines.distillation import divergence, joined, learn
from drake_baselines.translation import Target
from plain_lora import cross_entropy
from plain_lora import divergence as plain_divergence

from drake.config import configure
from drake.errors import DrakeError
from drake.federation import registry
from drake.federation.adapters import part, prefixed
from drake.federation.method import Upload
from drake.runs import Setup


@pytest.mark.parametrize("tau", [2.0, 1.0])
def test_peradas_students_learn_from_all_clients(world, tau):
    found = world.aggregated("perada", records=RECORDS, temperature=tau)
    llamas = softmax(world.said("llama-4", world.adapters[0], world.adapters[2]), tau)
    qwens = softmax(world.said("qwen-4", world.adapters[1]), tau)

    def teacher(own, count, others, weight):
        mixed = []
        for mine, (rows, theirs) in zip(own, others, strict=True):
            p = mine.clone()
            p[rows] = (count * mine[rows] + weight * theirs) / (count + weight)
            mixed.append(p)
        return mixed

    of_llama = teacher(llamas, 2, world.told("qwen-4", "llama-4", qwens), 1)
    expected = world.descended("llama-4", world.mean(), lambda k, z: kl(z, of_llama[k], tau))
    for client in (0, 2):
        assert_close(found[client], expected, world.mean())
    of_qwen = teacher(qwens, 1, world.told("llama-4", "qwen-4", llamas), 2)
    expected = world.descended("qwen-4", world.adapters[1], lambda k, z: kl(z, of_qwen[k], tau))
    assert_close(found[1], expected, world.adapters[1])


def test_clients_of_one_backbone_teach_perada_with_the_mean_of_their_logits(world):
    found = world.aggregated("perada", clients=(0, 2), records=RECORDS, rate=0.5)
    teacher = softmax(world.said("llama-4", world.adapters[0], world.adapters[2]), 2.0)
    expected = world.descended("llama-4", world.mean(), lambda k, z: kl(z, teacher[k], 2.0), rate=RATE / 2)
    assert list(found) == [0, 2]
    assert_close(found[0], expected, world.mean())


def test_sizes_of_one_vocabulary_teach_perada_with_the_mean_of_all_clients_logits(world):
    found = world.aggregated_sizes("perada", records=RECORDS)
    small, large = world.said("llama-4", world.adapters[0], world.adapters[2]), world.said("llama-6", world.large)
    teacher = softmax([(2 * ours + theirs) / 3 for ours, theirs in zip(small, large, strict=True)], 2.0)
    pairs = zip(softmax(small, 2.0), softmax(large, 2.0), strict=True)
    probabilities = [(2 * ours + theirs) / 3 for ours, theirs in pairs]
    for student, start, clients in (("llama-4", world.mean(), (0, 2)), ("llama-6", world.large, (1,))):
        expected, other = (
            world.descended(student, start, lambda k, z, told=told: kl(z, told[k], 2.0))
            for told in (teacher, probabilities)
        )
        assert max((expected[name] - tensor).abs().max() for name, tensor in other.items()) > 5e-6
        for client in clients:
            assert_close(found[client], expected, start)


def test_sizes_of_one_vocabulary_teach_takfl_at_every_answer_token(world):
    found = world.aggregated_sizes("takfl", records=RECORDS)
    taught = softmax(world.said("llama-4", world.adapters[0], world.adapters[2]), 3.0)
    own = softmax(world.said("llama-6", world.large), 20.0)
    distilled = world.descended("llama-6", world.large, lambda k, z: kl(z, taught[k], 3.0) + 0.01 * kl(z, own[k], 20.0))
    expected = {name: (tensor + distilled[name]) / 2 for name, tensor in world.large.items()}  # alone it adds zeros
    assert_close(found[1], expected, world.large)


def test_without_passes_perada_is_ditto_and_takfl_is_fedit(world):
    for name, plain in (("perada", "ditto"), ("takfl", "fedit")):
        expected = world.aggregated(plain)
        found = world.aggregated(name, passes=0)
        assert all(same(found[i], expected[i]) for i in range(3))
    perada, ditto = registry.find("perada"), registry.find("ditto")
    assert perada.relative_cost == ditto.relative_cost
    assert (perada.local_update, perada.for_inference) == (ditto.local_update, ditto.for_inference)
    step = [world.bare["llama-4"].batch([world.own[0], world.own[1]], answers=True)]
    left = []
    for name, options in (("perada", {"passes": 0}), ("ditto", {})):
        method, federation = world.method(name, **options)
        now = world.now(method, federation)
        left.append(method.local_update(replace(now, state=method.initial_state(now)), [step] * 2))
    assert left[0].state.keys() == left[1].state.keys()
    assert same(left[0].state, left[1].state)
    assert left[0].stats == left[1].stats


def test_perada_keeps_the_mean_unless_held_out_records_are_answered_better(world, monkeypatch):
    purposes, plain = world.purposes, world.aggregated("ditto")
    purposes.clear()
    kept = world.aggregated("perada", records=RECORDS, held_out=2)
    assert set(purposes) == {"distillation 0"}
    held_out, rest = world.public[:2], world.public[2 : 2 + RECORDS]
    monkeypatch.setattr(world, "public", rest)
    distilled = world.aggregated("perada", records=RECORDS)
    for client, name in enumerate(NAMES):
        (batch,) = world.batches(name, held_out)
        with torch.no_grad():
            loss = [cross_entropy(world.plain[name].answers(batch, by[client]), batch) for by in (distilled, plain)]
        assert same(kept[client], distilled[client] if loss[0] < loss[1] else plain[client])
        assert not same(distilled[client], plain[client])


def test_perada_with_the_official_fault_distils_the_shared_adapter_alone(world):
    method, federation = world.method("perada", average_personal=True, records=2)
    tensors = [prefixed("shared", world.adapters[i]) | prefixed("personal", world.adapters[2 - i]) for i in (0, 2)]
    found = method.aggregate(0, {i: Upload(t) for i, t in zip((0, 2), tensors, strict=True)}, federation)
    assert same(part("personal", found[0].tensors), world.mean())
    assert not same(part("shared", found[0].tensors), world.mean())


def test_takfl_adds_up_what_every_kind_of_backbone_teaches(world):
    found = world.aggregated("takfl", records=RECORDS)
    ensembles = {"llama-4": (world.adapters[0], world.adapters[2]), "qwen-4": (world.adapters[1],)}
    said = {name: softmax(world.said(name, *members), 3.0) for name, members in ensembles.items()}
    for student, mean, clients in (("llama-4", world.mean(), (0, 2)), ("qwen-4", world.adapters[1], (1,))):
        own, vectors = softmax(world.said(student, mean), 20.0), []
        for teacher in ensembles:
            told = world.told(teacher, student, said[teacher])

            def loss(k, z, told=told, own=own):
                rows, probabilities = told[k]
                return kl(z[rows], probabilities, 3.0) + 0.01 * kl(z, own[k], 20.0)

            distilled = world.descended(student, mean, loss)
            vectors.append({name: distilled[name].detach() - tensor for name, tensor in mean.items()})
        sizes = [sum(v.square().sum() for v in vector.values()).sqrt() for vector in vectors]
        # An ensemble of one client says what the mean says, and has nothing to teach it.
        assert [size > 1e-3 for size in sizes] == ([True, True] if student == "llama-4" else [True, False])
        expected = {name: tensor + (vectors[0][name] + vectors[1][name]) / 2 for name, tensor in mean.items()}
        for client in clients:
            assert_close(found[client], expected, mean)


def test_takfl_with_zero_vectors_leaves_the_mean_and_with_one_backbone_it_still_learns(world):
    faulty = world.aggregated("takfl", clients=(0, 2), zero_vectors=True)
    right = world.aggregated("takfl", clients=(0, 2), records=2)
    assert same(faulty[0], world.mean())
    assert not same(right[0], world.mean())
    assert same(right[2], right[0])


def test_every_aggregation_draws_records_of_its_own_and_all_where_there_are_fewer(world):
    method, federation = world.method("perada", count=3)
    world.purposes.clear()
    uploads = {i: Upload(prefixed("shared", world.adapters[i])) for i in (0, 2)}
    found = [method.aggregate(round, uploads, federation)[0].tensors for round in (0, 1)]
    assert list(dict.fromkeys(world.purposes)) == ["distillation 0", "distillation 1"]
    expected = world.aggregated("perada", clients=(0, 2), records=3)
    assert same(part("shared", found[0]), expected[0])


@pytest.mark.parametrize("name", ["perada", "takfl", "fedmkt"])
def test_without_public_records_a_run_is_refused_before_anything_is_loaded(
    micro_backbones, data_without_public, monkeypatch, name
):
    monkeypatch.setattr("drake.runs.setup.open_data", None)
    settings = configure(name, "quick", models=(micro_backbones["llama-4"],), data=data_without_public, device="cpu")
    with pytest.raises(
        DrakeError,
        match=f"^{name} learns from public records, and the dataset .* has none; name some "
        "with --public, such as --public llava-mix:FOLDER",
    ):
        Setup(settings)


def test_without_distillation_no_public_records_are_needed(world):
    for name, options in (("perada", {"passes": 0}), ("takfl", {"passes": 0}), ("takfl", {"zero_vectors": True})):
        method, federation = world.method(name, count=0, **options)
        assert not method.needs_public
        method.aggregate(0, {1: Upload(prefixed("shared", world.adapters[1]))}, federation)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("perada", {"penalty": -1}, "perada.penalty is -1.0"),
        ("perada", {"records": 0}, "perada needs"),
        ("takfl", {"temperature": 0}, "takfl needs temperatures > 0"),
        ("perada", {"held_out": -1}, "perada needs rate > 0 and held_out >= 0"),
        ("takfl", {"passes": -1}, "takfl needs records >= 1, passes >= 0"),
        ("takfl", {"rate": 0}, "takfl needs records >= 1, passes >= 0 and rate > 0"),
        ("fedmkt", {"weight": 1.5}, "fedmkt needs"),
    ],
)
def test_impossible_options_are_refused(world, name, options, sentence):
    with pytest.raises(DrakeError, match=sentence):
        world.method(name, **options)


def test_held_out_records_must_leave_some_to_learn_from(world):
    method, federation = world.method("perada", count=3, held_out=3)
    with pytest.raises(DrakeError, match="has 3 public records, so none are left"):
        method.prepare(federation)


@pytest.mark.parametrize("name", ["perada", "takfl"])
def test_one_client_alone_learns_nothing_new_from_itself(world, name):
    assert same(world.aggregated(name, clients=(1,))[1], world.adapters[1])


def test_the_divergence_is_tau_squared_kl():
    rng = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(3, 7, generator=rng), torch.randn(3, 7, generator=rng)
    found = divergence(student, (teacher / 2).softmax(-1), 2.0)
    torch.testing.assert_close(found, plain_divergence(student, teacher, 2.0))
    assert divergence(student, (student / 2).softmax(-1), 2.0).abs() < 1e-6


def test_records_nobody_speaks_about_are_left_out_of_a_batch():
    some = Target(torch.tensor([0, 2]), torch.eye(2))
    empty = Target(torch.tensor([], dtype=torch.long), torch.zeros(0, 2))
    found = joined([None, some, empty, some], [4, 3, 2, 3])
    assert found.rows.tolist() == [4, 6, 9, 11]
    assert torch.equal(found.probabilities, torch.eye(2).repeat(2, 1))
    assert joined([None, empty], [1, 1]) is None


def test_learning_stops_when_a_signal_asks(world, monkeypatch):
    method, federation = world.method("takfl")
    model = method.attach(federation.backbone("llama-4"), federation.clients[0])
    monkeypatch.setattr("drake.common.stopping._Asked.flag", True)
    with pytest.raises(KeyboardInterrupt):
        learn(model, world.batches("llama-4"), lambda number, logits, gold: logits.sum(), world.training)
