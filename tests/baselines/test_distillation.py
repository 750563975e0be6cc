"""One mixing of PerAda, TAKFL and FedMKT against their formulas in plain PyTorch, for two families of backbones."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from drake_baselines.distillation import divergence, joined, learn
from drake_baselines.fedmkt import largest
from drake_baselines.knowledge import unpacked
from drake_baselines.translation import Target, Translation
from plain_lora import Plain, cross_entropy, trainable
from plain_lora import divergence as plain_divergence

from drake import backbones
from drake.benchmark import load
from drake.errors import DrakeError
from drake.federation import registry
from drake.federation.adapters import part, prefixed
from drake.federation.method import Architecture, Client, Download, Federation, Upload
from drake.federation.settings import preset

RATE = 0.5
NAMES = ("llama-4", "qwen-4", "llama-4")
SIZES = ("llama-4", "llama-6", "llama-4")
"""Of one vocabulary."""
RECORDS = 5  # in micro-batches of two, two to a step


class World:
    """Three clients of two families, each with a random adapter, and the same backbones bare beside them."""

    def __init__(self, micro_backbones, micro_data):
        numbers = {"learning_rate": RATE, "gradient_clip": 1e9, "rank": 4, "alpha": 8, "dropout": 0.0}
        self.training = preset("quick").with_(**numbers, micro_batch=2, accumulation=2, steps=4).training
        self.public = list(load(micro_data).public)
        self.own = load(micro_data).records("NLVR2-0", "train")
        self.bare = {name: backbones.load(micro_backbones[name]) for name in {*NAMES, *SIZES}}
        self.plain = {name: Plain(held, 2.0) for name, held in self.bare.items()}
        self.adapters = [self.plain[name].random(seed, 4) for seed, name in enumerate(NAMES)]
        self.large = self.plain["llama-6"].random(9, 4)
        self.purposes = []

    def method(self, name, names=NAMES, count=None, **options):
        """Joined; its server has copies of the backbones. count: public records there are."""
        copies = {key: replace(held, model=deepcopy(held.model)) for key, held in self.bare.items()}

        def public(wanted, purpose):
            self.purposes.append(purpose)
            return self.public[: min(wanted, len(self.public) if count is None else count)]

        federation = Federation(
            clients=tuple(Client(number, held, ("NLVR2-0",)) for number, held in enumerate(names)),
            architectures={held: Architecture(held, held.split("-")[0], 4) for held in names},
            seed=0,
            rounds=2,
            training=self.training,
            backbone=copies.__getitem__,
            public=public,
        )
        method = registry.find(name)(self.training, {key: str(value) for key, value in options.items()})
        method.join(federation)
        return method, federation

    def mixed(self, name, clients=(0, 1, 2), **options):
        method, federation = self.method(name, **options)
        uploads = {i: Upload(prefixed("shared", self.adapters[i])) for i in clients}
        return {i: part("shared", found.tensors) for i, found in method.mix(0, uploads, federation).items()}

    def mixed_sizes(self, name, **options):
        """The same for `SIZES`, client 1 with the adapter `large`."""
        method, federation = self.method(name, SIZES, **options)
        sent = (self.adapters[0], self.large, self.adapters[2])
        uploads = {i: Upload(prefixed("shared", adapter)) for i, adapter in enumerate(sent)}
        return {i: part("shared", found.tensors) for i, found in method.mix(0, uploads, federation).items()}

    def mean(self):
        return {name: (tensor + self.adapters[2][name]) / 2 for name, tensor in self.adapters[0].items()}

    def batches(self, name, records=None):
        records = self.public[:RECORDS] if records is None else records
        return [self.bare[name].batch(records[i : i + 2], answers=True) for i in range(0, len(records), 2)]

    @torch.no_grad()
    def said(self, name, *adapters, records=None):
        """The mean of the logits with each adapter, batch by batch."""
        return [
            sum(self.plain[name].answers(batch, adapter) for adapter in adapters) / len(adapters)
            for batch in self.batches(name, records)
        ]

    def told(self, source, target, probabilities):
        """What `source` says about every batch, for `target`: (rows, probabilities), record by record."""
        translation, found = Translation(self.bare[source], self.bare[target]), []
        for number, ours in enumerate(self.batches(target)):
            left, rows, values = probabilities[number], [], []
            start = theirs = 0
            for record in ours.records:
                for place, goes_to in translation.places(record):
                    rows.append(start + goes_to)
                    values.append(translation.carried(left[theirs + place][None])[0])
                start += len(self.bare[target].chat.answer_ids(record))
                theirs += len(self.bare[source].chat.answer_ids(record))
            assert theirs == len(left)
            found.append((rows, torch.stack(values)))
        return found

    def descended(self, name, start, loss, batches=None, rate=RATE):
        """After one pass in steps of two batches; loss(number, logits)."""
        batches, adapter = batches or self.batches(name), trainable(start)
        for first in range(0, len(batches), 2):
            numbers = range(first, min(first + 2, len(batches)))
            losses = [loss(number, self.plain[name].answers(batches[number], adapter)) for number in numbers]
            adapter = descended(losses, adapter, rate)
        return adapter


@pytest.fixture(scope="module")
def made(micro_backbones, micro_data):
    return World(micro_backbones, micro_data)


@pytest.fixture
def world(made, monkeypatch):
    monkeypatch.setattr(torch.optim, "AdamW", torch.optim.SGD)  # as in conftest.py
    return made


def descended(losses, adapter, rate=RATE):
    """After one step down the gradient of the mean of the losses; ready for the next."""
    gradients = torch.autograd.grad(sum(losses) / len(losses), list(adapter.values()))
    return trainable({name: adapter[name] - rate * g for name, g in zip(adapter, gradients, strict=True)})


def kl(logits, probabilities, tau):
    return plain_divergence(logits, probabilities.clamp_min(1e-30).log() * tau, tau)


def assert_close(found, expected, start):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor.detach(), atol=1e-6, rtol=0)
    assert sum((found[name] - tensor).square().sum() for name, tensor in start.items()).sqrt() > 1e-4


def softmax(batches, tau):
    return [(logits / tau).softmax(-1) for logits in batches]


@pytest.mark.parametrize("tau", [2.0, 1.0])
def test_peradas_students_learn_from_all_clients(world, tau):
    found = world.mixed("perada", records=RECORDS, temperature=tau)
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
    found = world.mixed("perada", clients=(0, 2), records=RECORDS, rate=0.5)
    teacher = softmax(world.said("llama-4", world.adapters[0], world.adapters[2]), 2.0)
    expected = world.descended("llama-4", world.mean(), lambda k, z: kl(z, teacher[k], 2.0), rate=RATE / 2)
    assert list(found) == [0, 2]
    assert_close(found[0], expected, world.mean())


def same(found, expected):
    return all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_sizes_of_one_vocabulary_teach_perada_with_the_mean_of_all_clients_logits(world):
    found = world.mixed_sizes("perada", records=RECORDS)
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
    found = world.mixed_sizes("takfl", records=RECORDS)
    taught = softmax(world.said("llama-4", world.adapters[0], world.adapters[2]), 3.0)
    own = softmax(world.said("llama-6", world.large), 20.0)
    distilled = world.descended("llama-6", world.large, lambda k, z: kl(z, taught[k], 3.0) + 0.01 * kl(z, own[k], 20.0))
    expected = {name: (tensor + distilled[name]) / 2 for name, tensor in world.large.items()}  # alone it adds zeros
    assert_close(found[1], expected, world.large)


def test_without_passes_perada_is_ditto_and_takfl_is_fedit(world):
    for name, plain in (("perada", "ditto"), ("takfl", "fedit")):
        expected = world.mixed(plain)
        found = world.mixed(name, passes=0)
        assert all(same(found[i], expected[i]) for i in range(3))
    perada, ditto = registry.find("perada"), registry.find("ditto")
    assert perada.relative_cost == ditto.relative_cost
    assert (perada.local_update, perada.for_inference) == (ditto.local_update, ditto.for_inference)
    step = [world.bare["llama-4"].batch([world.own[0], world.own[1]], answers=True)]
    left = []
    for name, options in (("perada", {"passes": 0}), ("ditto", {})):
        method, federation = world.method(name, **options)
        model, client = method.attach(federation.backbone("llama-4"), federation.clients[0]), federation.clients[0]
        start = method.initial_state(model, client, torch.Generator().manual_seed(0))
        left.append(method.local_update(model, start, None, [step] * 2, torch.Generator()))
    assert left[0].state.keys() == left[1].state.keys()
    assert same(left[0].state, left[1].state)
    assert left[0].stats == left[1].stats


def test_perada_keeps_the_mean_unless_held_out_records_are_answered_better(world, monkeypatch):
    purposes, plain = world.purposes, world.mixed("ditto")
    purposes.clear()
    kept = world.mixed("perada", records=RECORDS, held_out=2)
    assert purposes == ["distillation 0"]
    held_out, rest = world.public[:2], world.public[2 : 2 + RECORDS]
    monkeypatch.setattr(world, "public", rest)
    distilled = world.mixed("perada", records=RECORDS)
    for client, name in enumerate(NAMES):
        (batch,) = world.batches(name, held_out)
        with torch.no_grad():
            loss = [cross_entropy(world.plain[name].answers(batch, by[client]), batch) for by in (distilled, plain)]
        assert same(kept[client], distilled[client] if loss[0] < loss[1] else plain[client])
        assert not same(distilled[client], plain[client])


def test_perada_with_the_official_fault_distils_the_shared_adapter_alone(world):
    method, federation = world.method("perada", average_personal=True, records=2)
    tensors = [prefixed("shared", world.adapters[i]) | prefixed("personal", world.adapters[2 - i]) for i in (0, 2)]
    found = method.mix(0, {i: Upload(t) for i, t in zip((0, 2), tensors, strict=True)}, federation)
    assert same(part("personal", found[0].tensors), world.mean())
    assert not same(part("shared", found[0].tensors), world.mean())


def test_takfl_adds_up_what_every_kind_of_backbone_teaches(world):
    found = world.mixed("takfl", records=RECORDS)
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
    faulty = world.mixed("takfl", clients=(0, 2), zero_vectors=True)
    right = world.mixed("takfl", clients=(0, 2), records=2)
    assert same(faulty[0], world.mean())
    assert not same(right[0], world.mean())
    assert same(right[2], right[0])


def test_every_mixing_draws_records_of_its_own_and_all_where_there_are_fewer(world):
    method, federation = world.method("perada", count=3)
    world.purposes.clear()
    uploads = {i: Upload(prefixed("shared", world.adapters[i])) for i in (0, 2)}
    found = [method.mix(round, uploads, federation)[0].tensors for round in (0, 1)]
    assert world.purposes == ["distillation 0", "distillation 1"]
    expected = world.mixed("perada", clients=(0, 2), records=3)
    assert same(part("shared", found[0]), expected[0])


@pytest.mark.parametrize("name", ["perada", "takfl", "fedmkt"])
def test_without_public_records_there_is_one_sentence_before_the_first_round(world, name):
    method, federation = world.method(name, count=0)
    with pytest.raises(DrakeError, match=f"^{name} distils on public records, and the dataset has none"):
        method.prepare(federation)


def test_without_distillation_no_public_records_are_needed(world):
    for name, options in (("perada", {"passes": 0}), ("takfl", {"passes": 0}), ("takfl", {"zero_vectors": True})):
        method, federation = world.method(name, count=0, **options)
        method.prepare(federation)
        method.mix(0, {1: Upload(prefixed("shared", world.adapters[1]))}, federation)


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
    uploads = {i: Upload(prefixed("shared", world.adapters[i])) for i in (0, 2)}
    with pytest.raises(DrakeError, match="has 3 public records: none are left"):
        method.mix(0, uploads, federation)


@pytest.mark.parametrize("name", ["perada", "takfl"])
def test_one_client_alone_learns_nothing_new_from_itself(world, name):
    assert same(world.mixed(name, clients=(1,))[1], world.adapters[1])


class TestFedMKT:
    """Four public records: a third of what the 4 / 1.5 local steps of 4 records read."""

    def message(self, world, name, adapter, size):
        """What is sent with all logits of all tokens, in plain PyTorch."""
        losses, said = [], []
        for batch, logits in zip(
            world.batches(name, world.public[:size]),
            world.said(name, adapter, records=world.public[:size]),
            strict=True,
        ):
            start = 0
            for record in batch.records:
                ids = torch.tensor(world.bare[name].chat.answer_ids(record))
                row = logits[start : start + len(ids)]
                start += len(ids)
                losses.append(-row.log_softmax(-1)[torch.arange(len(ids)), ids].mean())
                said.append(row)
        return torch.stack(losses), said

    def uploads(self, world, method, federation):
        """Of all clients, as if after their training: what each says with its adapter."""
        found = {}
        for client in federation.clients:
            method.server.model(client.backbone)
            batches = method.server.batches(client.backbone, world.public[: method.public_size])
            backbone = federation.backbone(client.backbone)
            found[client.id] = Upload(method._said(backbone, world.adapters[client.id], batches))
        return found

    def test_the_public_set_follows_the_steps_of_a_round_and_is_repeated_where_too_small(self, world):
        method, _ = world.method("fedmkt", count=2)
        assert method.public_size == round(4 / 1.5 * 4 / 3) == 4
        assert method._public() == [*world.public[:2], *world.public[:2]]

    def test_a_client_sends_losses_and_its_largest_logits(self, world):
        method, federation = world.method("fedmkt", logits=3, tokens=2)
        uploads = self.uploads(world, method, federation)
        for client, name in enumerate(NAMES):
            losses, said = self.message(world, name, world.adapters[client], 4)
            sent = uploads[client].tensors
            torch.testing.assert_close(sent["losses"], losses)
            assert sent["logits"].shape == sent["ids"].shape == (4, 2, 3)
            for number, row in enumerate(said):
                best = row[:2].topk(3)
                torch.testing.assert_close(sent["logits"][number], best.values, atol=1e-5, rtol=0)
                assert torch.equal(sent["ids"][number].long(), best.indices)
                target = unpacked(sent, number, row.shape[1])
                assert target.rows.tolist() == [0, 1]
                expected = torch.zeros_like(row[:2]).scatter(1, best.indices, best.values.softmax(-1))
                torch.testing.assert_close(target.probabilities, expected)

    def test_a_short_answer_leaves_places_empty(self, world):
        method, federation = world.method("fedmkt", logits=2, tokens=9)
        sent = self.uploads(world, method, federation)[0].tensors
        lengths = [len(world.bare["llama-4"].chat.answer_ids(record)) for record in world.public[:4]]
        assert max(lengths) < 9
        assert [(row >= 0).any(-1).sum().item() for row in sent["ids"]] == lengths
        assert [len(unpacked(sent, number, 5000).rows) for number in range(4)] == lengths

    def test_a_client_learns_from_the_server_where_that_is_better_and_then_from_its_own(self, world):
        name, start, teacher = "llama-4", world.adapters[0], world.adapters[2]
        method, federation = world.method("fedmkt", logits=100_000, weight=0.3)
        model = method.attach(federation.backbone(name), federation.clients[0])
        own, _ = self.message(world, name, start, 4)
        _, said = self.message(world, name, teacher, 4)
        losses = own + torch.tensor([0.1, -0.1, 0.2, -0.1])  # the server is better at the second and the last
        download = Download(self.uploads(world, method, federation)[2].tensors | {"losses": losses})
        step = [world.bare[name].batch([world.own[0], world.own[1]], answers=True)]
        state = prefixed("shared", start) | {"losses": own}
        result = method.local_update(model, state, download, [step], torch.Generator())

        public = world.batches(name, world.public[:4])

        def loss(k, z):
            first = len(world.bare[name].chat.answer_ids(public[k].records[0]))
            taught = kl(z[first:], said[2 * k + 1].softmax(-1), 1.0)
            return 0.7 * cross_entropy(z, public[k]) + 0.3 * taught

        adapter = world.descended(name, start, loss, public)
        adapter = descended([cross_entropy(world.plain[name].answers(step[0], adapter), step[0])], adapter)
        assert_close(part("shared", result.state), adapter, start)
        losses, _ = self.message(world, name, adapter, 4)
        torch.testing.assert_close(result.state["losses"], losses.detach())
        assert torch.equal(result.upload.tensors["losses"], result.state["losses"])
        assert result.upload.tensors.keys() == {"losses", "logits", "ids"}

    def test_the_server_learns_from_the_best_client_of_every_record(self, world):
        method, federation = world.method("fedmkt", logits=100_000, tokens=50)
        assert largest(federation) == "qwen-4"  # equals; the last by name
        start = world.plain["qwen-4"].random(7, 4)
        method.restore(start)
        uploads = self.uploads(world, method, federation)
        own, _ = self.message(world, "qwen-4", start, 4)
        # Best at the four records: a llama, the server itself, qwen, the other llama.
        for client, better in ((0, 0), (1, 2), (2, 3)):
            losses = own + 0.1 + 0.1 * client
            losses[better] = own[better] - 0.1
            uploads[client] = Upload(dict(uploads[client].tensors) | {"losses": losses})
        downloads = method.mix(0, uploads, federation)

        said = [self.message(world, name, world.adapters[i], 4)[1] for i, name in enumerate(NAMES)]
        translation = Translation(world.bare["llama-4"], world.bare["qwen-4"])
        public = world.batches("qwen-4", world.public[:4])

        def teacher(number):
            """rows, probabilities"""
            if number == 1:
                return [], []
            if number == 2:
                return list(range(len(said[1][2]))), list(said[1][2].softmax(-1))
            p = said[0 if number == 0 else 2][number].softmax(-1)
            places = translation.places(world.public[number])
            return [theirs for _, theirs in places], [translation.carried(p[[ours]])[0] for ours, _ in places]

        def loss(k, z):
            first = len(world.bare["qwen-4"].chat.answer_ids(public[k].records[0]))
            (rows, p), (more, q) = teacher(2 * k), teacher(2 * k + 1)
            taught = kl(z[rows + [first + row for row in more]], torch.stack(p + q), 1.0)
            return 0.9 * cross_entropy(z, public[k]) + 0.1 * taught

        adapter = world.descended("qwen-4", start, loss, public)
        assert_close(method.server_state(), adapter, start)

        losses, said = self.message(world, "qwen-4", adapter, 4)
        for client, name in enumerate(NAMES):
            torch.testing.assert_close(downloads[client].tensors["losses"], losses.detach())
            shapes = {key: tensor.shape for key, tensor in uploads[client].tensors.items()}
            assert {key: tensor.shape for key, tensor in downloads[client].tensors.items()} == shapes
            translation = Translation(world.bare["qwen-4"], world.bare[name])
            for number, row in enumerate(said):
                found = unpacked(downloads[client].tensors, number, translation.width)
                expected = translation(Target(torch.arange(len(row)), row.detach().softmax(-1)), world.public[number])
                order = expected.rows.argsort()
                assert torch.equal(found.rows, expected.rows[order])
                torch.testing.assert_close(found.probabilities, expected.probabilities[order], atol=1e-5, rtol=0)

    def test_the_server_starts_as_the_bare_backbone_and_goes_on_from_its_state(self, world):
        method, federation = world.method("fedmkt")
        uploads = self.uploads(world, method, federation)
        method.restore({})
        method.mix(0, uploads, federation)
        first = method.server_state()
        expected = method.mix(1, uploads, federation)
        again, federation = world.method("fedmkt")
        again.restore(first)
        found = again.mix(1, uploads, federation)
        assert all(same(found[i].tensors, expected[i].tensors) for i in range(3))
        again.restore({})
        again.mix(0, uploads, federation)
        assert same(again.server_state(), first)

    def test_a_client_answers_with_its_own_adapter_whatever_it_received(self, world):
        method, federation = world.method("fedmkt")
        model = method.attach(federation.backbone("llama-4"), federation.clients[0])
        received = Download(self.uploads(world, method, federation)[2].tensors | prefixed("shared", world.adapters[2]))
        method.for_inference(model, prefixed("shared", world.adapters[0]), received)
        batch = world.batches("llama-4")[0]
        logits = model.eval()(**batch.inputs, use_cache=False).logits
        torch.testing.assert_close(
            logits[:, -1:], world.plain["llama-4"](batch.inputs, world.adapters[0])[:, -1:], atol=1e-5, rtol=1e-5
        )


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
    monkeypatch.setattr("drake.stopping._Asked.flag", True)
    with pytest.raises(KeyboardInterrupt):
        learn(model, world.batches("llama-4"), lambda number, logits, gold: logits.sum(), world.training)
