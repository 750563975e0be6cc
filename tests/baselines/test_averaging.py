"""What leaves a client, who is averaged with whom, and whole federations of two families."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from drake_baselines.averaging import averages

from drake.config import preset
from drake.data.benchmark import load
from drake.engines.serial import Serial
from drake.engines.worker import Worker
from drake.errors import UnknownName
from drake.federation import adapters, registry
from drake.federation.callbacks import RunContext
from drake.federation.loop import run_rounds
from drake.federation.measurements import measurements
from drake.federation.method import Architecture, Client, Download, Federation, Upload
from drake.models import backbones
from drake.scoring.generation import generate

METHODS = ("fedit", "ditto", "feddat", "fedsim", "feddpa", "feddpa by the question")
PERSONAL = ("ditto", "fedsim", "feddpa")
NAMES = ("llama-4", "llama-6", "llama-4", "qwen-4")
"""The clients' backbones: two alike, two alone."""
OUT = {1: {2}}
"""Round -> the clients that miss it."""


def federation(training=None, backbone=None, names=NAMES) -> Federation:
    clients = tuple(Client(number, name, ("NLVR2-0",)) for number, name in enumerate(names))
    architectures = {name: Architecture(name, name.split("-")[0], int(name.split("-")[1])) for name in set(names)}
    return Federation(clients, architectures, 0, 2, training, backbone, lambda count, purpose: [])


class Run:
    """Two rounds of two steps of a federation, client 2 missing the second; one answer of every client after each."""

    def __init__(self, name, micro_backbones, micro_data, **options):
        training = replace(preset("quick").training, dropout=0.05, rank=4)
        data = load(micro_data)
        train, self.test = data.records("NLVR2-0", "train"), data.records("NLVR2-0", "test")[0]
        self.method = registry.find(name)(training, options)
        self.worker = Worker(self.method, lambda name: backbones.load(micro_backbones[name]), self.plan(train))
        self.worker.join(federation(training, self.worker.backbone))
        self.clients = self.worker.federation.clients
        participation = SimpleNamespace(
            present=lambda federation, round: set(range(len(NAMES))) - OUT.get(round, set())
        )
        self.answers, self.sent, self.received = [], [], []
        run = RunContext(self.worker.federation, self.method)
        self.progress = run_rounds(
            Serial(self.worker),
            run,
            measurements(),
            participation,
            evaluate=self.evaluate,
            evaluation_rounds=[1, 2],
            evaluate_at="aggregated",
        )

    def plan(self, records):
        return lambda client, round: [[[records[client + round], records[client + step + 1]]] for step in range(2)]

    def evaluate(self, run, rounds_done, moment):
        progress = run.progress
        self.sent.append(dict(progress.uploads))
        self.received.append(dict(progress.downloads))
        rows = []
        for client in self.clients:
            backbone = self.worker.backbone(client.backbone)
            model = self.worker.answer_as(client, progress.states[client.id], progress.downloads[client.id])
            batch = backbone.batch([self.test], answers=False)
            rows.append(generate(model.eval(), batch, [], 2)[0])
        self.answers.append(rows)


@pytest.fixture(scope="module", params=METHODS)
def run(request, micro_backbones, micro_data):
    name, *options = request.param.split(" ", 1)
    return Run(name, micro_backbones, micro_data, **({"samples": "2"} if options else {}))


def same(found, expected):
    assert found.keys() == expected.keys()
    return all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_a_client_sends_its_shared_adapter_and_nothing_else(run):
    for client in run.clients:
        model = run.worker.model(client)
        upload = run.progress.uploads[client.id]
        expected = adapters.tensors(model, "shared")
        shapes = {f"shared.{name}": tensor.shape for name, tensor in expected.items()}
        assert {name: tensor.shape for name, tensor in upload.tensors.items()} == shapes
        assert {
            name: tensor.shape for name, tensor in run.method.sent(run.worker.client_round(client)).items()
        } == shapes
        assert not upload.numbers
    assert {row.kind for row in run.progress.traffic} == {"A", "B"}


def test_clients_of_one_backbone_receive_their_mean_and_one_alone_gets_its_own_back(run):
    for sent, received in zip(run.sent, run.received, strict=True):
        for name, tensor in received[0].tensors.items():
            mean = (sent[0].tensors[name] + sent[2].tensors[name]) / 2
            torch.testing.assert_close(tensor, mean, atol=1e-7, rtol=0)
        for alone in (1, 3):
            assert same(received[alone].tensors, sent[alone].tensors)


def test_a_client_that_misses_a_round_counts_with_its_last_upload_and_waits_for_the_mean(run):
    assert same(run.sent[1][2].tensors, run.sent[0][2].tensors)
    assert not same(run.sent[1][0].tensors, run.sent[0][0].tensors)
    assert same(run.received[1][2].tensors, run.received[0][2].tensors)
    assert same(run.progress.waiting[2].tensors, run.received[1][0].tensors)


def test_clients_of_one_backbone_start_alike_and_go_apart(run):
    starts = [run.worker.initial_state(run.clients[i]) for i in (0, 2)]
    assert same(*starts)
    assert not same(*(run.sent[0][i].tensors for i in (0, 2)))  # after the round that both took part in


def test_every_client_trains_and_answers(run):
    for row in run.progress.losses:
        assert all(0 < loss < 20 for loss in row.values())
    assert [sorted(row) for row in run.progress.losses] == [[0, 1, 2, 3], [0, 1, 3]]
    assert all(len(answer) == 2 for rows in run.answers for answer in rows)


def uploads(names=NAMES):
    rng = torch.Generator().manual_seed(0)
    widths = {"llama-4": 3, "llama-6": 5, "qwen-4": 4}
    return {i: Upload({"shared.0.x.A": torch.randn(2, widths[name], generator=rng)}) for i, name in enumerate(names)}


def test_the_mean_has_the_same_bits_in_whatever_order_the_uploads_come():
    names = ("llama-4", "qwen-4") * 5
    found, everyone = uploads(names), federation(names=names)
    plain = averages(found, everyone)
    turned = averages(dict(reversed(found.items())), everyone)
    assert list(plain) == list(turned) == list(range(10))
    for client in plain:
        assert same(plain[client].tensors, turned[client].tensors)
    mean = sum(found[i].tensors["shared.0.x.A"].double() for i in range(0, 10, 2)) / 5
    torch.testing.assert_close(plain[4].tensors["shared.0.x.A"].double(), mean, atol=1e-6, rtol=0)


def test_only_clients_that_have_sent_something_are_answered():
    found = uploads()
    del found[0], found[3]
    answered = averages(found, federation())
    assert list(answered) == [1, 2]
    assert torch.equal(answered[2].tensors["shared.0.x.A"], found[2].tensors["shared.0.x.A"])


@pytest.mark.parametrize("name", PERSONAL)
@pytest.mark.parametrize("averaged", [False, True])
def test_the_official_fault_overwrites_the_personal_adapter_with_the_mean(bench, name, averaged):
    method, model = bench.method(name, **({"average_personal": True} if averaged else {}))
    own, personal, mean = bench.adapters
    state = adapters.prefixed("shared", own) | adapters.prefixed("personal", personal)
    result = method.local_update(bench.now(model, state), bench.steps[:1])
    sent = {"shared", "personal"} if averaged else {"shared"}
    assert {name.split(".")[0] for name in result.upload.tensors} == sent
    assert method.sent(bench.now(model)).keys() == result.upload.tensors.keys()
    assert all(torch.equal(result.upload.tensors[name], result.state[name]) for name in result.upload.tensors)

    download = Download({key: tensor for part in sent for key, tensor in adapters.prefixed(part, mean).items()})
    method.for_inference(bench.now(model, result.state, download))
    expected = mean if averaged else adapters.part("personal", result.state)
    assert same(adapters.read(model, "personal"), expected)


@pytest.mark.parametrize("name", ["fedit", "feddat"])
def test_methods_without_that_fault_have_no_switch_for_it(bench, name):
    with pytest.raises(UnknownName, match="unknown option 'average_personal'"):
        bench.method(name, average_personal=True)
