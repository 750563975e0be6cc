"""FedMosaic: who gets what, what trains, what is sent."""

from dataclasses import replace

import pytest
import torch
from drake_methods.aggregation import customise
from drake_methods.colora import co_lora_layers
from drake_methods.fedmosaic import FedMosaic
from drake_methods.frozen import anchor_of
from hypothesis import given, settings
from hypothesis import strategies as st

from drake.config import preset
from drake.data.benchmark import load
from drake.engines.serial import Serial
from drake.engines.tasks import Job
from drake.engines.worker import Worker
from drake.errors import DrakeError
from drake.federation import adapters
from drake.federation.method import Architecture, Client, ClientRound, Federation
from drake.models import backbones

PROJECTION = "self_attn.q_proj"


def upload(client: int, layers: int, width: int, rank: int = 3, blocks: int = 4) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(client)
    tensors = {}
    for layer in range(layers):
        shapes = {"A": (rank, width), "B": (width, rank)}
        if layer in co_lora_layers(layers, blocks):
            shapes = {"P": (rank, rank), "Q": (rank,)}
        for letter, shape in shapes.items():
            tensors[f"{layer}.{PROJECTION}.{letter}"] = torch.randn(shape, generator=rng, dtype=torch.float64)
    return tensors


def test_of_two_alike_each_gets_the_others_module():
    uploads = {0: upload(0, 4, 8), 1: upload(1, 4, 8)}
    architectures = {0: ("small", 4), 1: ("small", 4)}
    found = customise(0, uploads, architectures, torch.eye(2, dtype=torch.float64))
    assert found.keys() == uploads[1].keys()
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, uploads[1][name])


def test_across_architectures_only_p_and_q_are_exchanged_block_by_block():
    uploads = {0: upload(0, 4, 8), 1: upload(1, 6, 10)}
    architectures = {0: ("small", 4), 1: ("large", 6)}
    found = customise(1, uploads, architectures, torch.eye(2, dtype=torch.float64))
    for large, small in zip(co_lora_layers(6, 4), co_lora_layers(4, 4), strict=True):
        torch.testing.assert_close(found[f"{large}.{PROJECTION}.P"], uploads[0][f"{small}.{PROJECTION}.P"])
    assert torch.equal(found[f"3.{PROJECTION}.A"], uploads[1][f"3.{PROJECTION}.A"])  # no peer: its own


def test_a_client_alone_keeps_its_own_module():
    alone = {4: upload(4, 6, 8)}
    found = customise(4, alone, {4: ("small", 6)}, torch.ones(1, 1))
    assert all(torch.equal(found[name], alone[4][name]) for name in alone[4])


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(5)))
def test_permuting_client_numbers_permutes_the_modules_and_nothing_else(order):
    kinds = [("small", 4), ("small", 4), ("large", 6), ("large", 6), ("large", 6)]
    uploads = {i: upload(i, kinds[i][1], 8 if kinds[i][0] == "small" else 10) for i in range(5)}
    relevance = torch.rand(5, 5, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    plain = {i: customise(i, uploads, dict(enumerate(kinds)), relevance) for i in range(5)}
    renamed = {new: uploads[old] for new, old in enumerate(order)}
    shuffled = relevance[list(order)][:, list(order)]
    for new, old in enumerate(order):
        found = customise(new, renamed, {n: kinds[o] for n, o in enumerate(order)}, shuffled)
        for name, tensor in plain[old].items():
            torch.testing.assert_close(found[name], tensor)


def one_round(micro_backbones, micro_data, options, names=("llama-4", "llama-4", "llama-6"), rounds=1):
    """Clients after some rounds of three steps: (worker, federation, first states, last results, last downloads)."""
    training = replace(preset("quick").training, steps=3, micro_batch=2)
    clients = tuple(Client(i, name, ("NLVR2-0",)) for i, name in enumerate(names))
    method = FedMosaic(training, {"gradient_every": "2", "num_blocks": "3", "align_records": "8"} | options)
    data = load(micro_data)
    records = data.records("NLVR2-0", "train")
    steps = [[[records[2 * step], records[2 * step + 1]]] for step in range(3)]
    worker = Worker(method, lambda name: backbones.load(micro_backbones[name]), lambda client, round: steps)
    architectures = {
        name: Architecture(name, worker.backbone(name).family, worker.backbone(name).num_layers)
        for name in dict.fromkeys(names)
    }

    def public(count, purpose):
        return list(data.public.select(range(count)))

    federation = Federation(clients, architectures, 0, rounds, training, worker.backbone, public)
    worker.join(federation)
    states = first = {client.id: worker.initial_state(client) for client in clients}
    downloads = {}
    for round in range(rounds):
        jobs = [Job(client, round, states[client.id], downloads.get(client.id)) for client in clients]
        results = dict(Serial(worker).run(jobs))
        downloads = method.aggregate(round, {i: result.upload for i, result in results.items()}, federation)
        states = {i: result.state for i, result in results.items()}
    return worker, federation, first, results, downloads


@pytest.fixture(scope="module")
def after_one_round(micro_backbones, micro_data):
    """Three clients on two architectures after one round of three steps."""
    return one_round(micro_backbones, micro_data, {})


def test_a_and_b_of_co_lora_layers_are_orthonormal_shared_within_an_architecture_and_frozen(after_one_round):
    _, _, states, results, _ = after_one_round
    for letter, product in (("A", lambda t: t @ t.T), ("B", lambda t: t.T @ t)):
        name = f"local.3.mlp.down_proj.{letter}"
        torch.testing.assert_close(product(states[0][name]), torch.eye(8), atol=1e-5, rtol=0)
        if letter == "A":  # B of an aligned architecture takes the scale of the anchor's outputs
            other = states[2]["local.5.mlp.down_proj.A"]
            torch.testing.assert_close(product(other), torch.eye(8), atol=1e-5, rtol=0)
        assert torch.equal(states[0][name], states[1][name])
        assert torch.equal(results[0].state[name], states[0][name])


def test_local_module_and_gates_train(after_one_round):
    _, _, states, results, _ = after_one_round
    moved = {name for name, tensor in states[2].items() if not torch.equal(tensor, results[2].state[name])}
    assert "local.5.self_attn.q_proj.P" in moved
    assert "local.2.mlp.up_proj.B" in moved
    assert "local.5.self_attn.q_proj.A" not in moved


def test_uploads_hold_p_q_a_b_and_the_sanitised_gradient_and_nothing_else(after_one_round):
    worker, _, _, results, _ = after_one_round
    co_layers = {0: co_lora_layers(4, 3), 2: co_lora_layers(6, 3)}
    letters = {client: set() for client in co_layers}
    for client, places in co_layers.items():
        for name in results[client].upload.tensors:
            if name != "gradient":
                assert (int(name.split(".")[0]) in places) == (name[-1] in "PQ")
                letters[client].add(name[-1])
    assert letters == {0: set("PQAB"), 2: set("PQ")}  # client 2 is the only one of its architecture
    sent = results[2].upload.tensors
    anchor = worker.backbone("llama-4").model.config.text_config
    assert sent["gradient"].shape == (round(0.4 * anchor.hidden_size), anchor.intermediate_size)


def assert_says_what_crosses(found, client):
    worker, federation, _, results, downloads = found
    now = worker.client_round(federation.clients[client])
    looks = lambda tensors: {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}  # noqa: E731
    assert looks(worker.method.sent(now)) == looks(results[client].upload.tensors)
    assert looks(worker.method.received(now)) == looks(downloads[client].tensors)


@pytest.mark.parametrize("client", [0, 2])
def test_what_a_client_says_it_sends_and_receives_is_what_crosses(after_one_round, client):
    assert_says_what_crosses(after_one_round, client)


def test_the_download_is_what_customise_says(after_one_round):
    _, _, _, results, downloads = after_one_round
    others = [{name.replace("3.", "5.", 1): t for name, t in results[i].upload.tensors.items()} for i in (0, 1)]
    assert torch.equal(downloads[0].tensors["2.mlp.up_proj.A"], results[1].upload.tensors["2.mlp.up_proj.A"])
    name = "5.mlp.up_proj.P"
    low, high = (torch.minimum, torch.maximum)
    assert (downloads[2].tensors[name] >= low(others[0][name], others[1][name]) - 1e-7).all()
    assert (downloads[2].tensors[name] <= high(others[0][name], others[1][name]) + 1e-7).all()


def test_clients_of_one_architecture_share_one_resident_model(after_one_round):
    worker, federation, _, _, _ = after_one_round
    assert worker.model(federation.clients[0]) is worker.model(federation.clients[1])


@pytest.mark.parametrize("option", [{"temperature": "0"}, {"kept": "2"}, {"sigma": "-1"}, {"gradient_every": "0"}])
def test_impossible_options_are_refused(option):
    with pytest.raises(DrakeError, match="fedmosaic needs"):
        FedMosaic(preset("quick").training, option)


def sent_letters(result) -> set[str]:
    return {name[-1] if name != "gradient" else name for name in result.upload.tensors}


def test_uniform_aggregation_measures_and_sends_no_gradient_and_weighs_all_others_alike(micro_backbones, micro_data):
    names = ("llama-4", "llama-4", "llama-4")
    found = one_round(micro_backbones, micro_data, {"aggregation": "uniform"}, names)
    worker, _, _, results, downloads = found
    assert sent_letters(results[0]) == set("PQAB")
    name = "3.mlp.up_proj.P"
    mean = (results[1].upload.tensors[name] + results[2].upload.tensors[name]) / 2
    torch.testing.assert_close(downloads[0].tensors[name], mean)
    assert worker.method.observed() == {}
    assert_says_what_crosses(found, 0)


def test_one_block_is_the_last_layer_and_none_is_conventional_lora_for_peers_alone(micro_backbones, micro_data):
    *_, last, _ = one_round(micro_backbones, micro_data, {"num_blocks": "1"})
    assert {name.split(".")[0] for name in last[2].upload.tensors if name.endswith(".P")} == {"5"}
    *_, none, downloads = one_round(micro_backbones, micro_data, {"num_blocks": "0"})
    assert sent_letters(none[0]) == {"A", "B", "gradient"}
    assert sent_letters(none[2]) == {"gradient"}
    assert downloads[2].tensors == {}


def test_a_fixed_gate_stays_at_one_half(micro_backbones, micro_data):
    *_, results, _ = one_round(micro_backbones, micro_data, {"gate": "fixed"})
    assert all(tensor == 0 for name, tensor in results[0].state.items() if name.startswith("gate."))
    *_, results, _ = one_round(micro_backbones, micro_data, {"gate": "scalar"}, rounds=2)
    assert any(tensor != 0 for name, tensor in results[0].state.items() if name.startswith("gate."))


def test_the_input_gate_trains_and_answers(micro_backbones, micro_data):
    found = one_round(micro_backbones, micro_data, {"gate": "input"}, rounds=2)
    worker, federation, _, results, downloads = found
    assert results[2].state["gate.5.mlp.up_proj.w"].abs().sum() > 0
    now = worker.client_round(federation.clients[2], state=results[2].state, download=downloads[2])
    worker.method.for_inference(now)
    assert torch.equal(
        adapters.layers(now.model)["5.mlp.up_proj"].lora_gate_w, results[2].state["gate.5.mlp.up_proj.w"]
    )


@pytest.mark.parametrize(("gate", "rate"), [("input", "A"), ("official", "A"), ("scalar", "P")])
def test_an_input_gate_trains_at_the_rate_of_a_and_b_and_a_scalar_at_that_of_p_and_q(
    micro_backbones, micro_data, monkeypatch, gate, rate
):
    groups = []
    optimizer = ClientRound.optimizer

    def watched(now, asked):
        asked = [(list(parameters), learning_rate) for parameters, learning_rate in asked]
        names = {id(parameter): name for name, parameter in now.model.named_parameters()}
        groups.append({learning_rate: {names[id(p)] for p in parameters} for parameters, learning_rate in asked})
        return optimizer(now, asked)

    monkeypatch.setattr(ClientRound, "optimizer", watched)
    one_round(micro_backbones, micro_data, {"gate": gate}, ("llama-4",))
    rates = {"A": preset("quick").training.learning_rate, "P": preset("quick").training.shared_learning_rate}
    by_kind = {
        kind: {r for r, names in groups[0].items() if any(kind in n for n in names)}
        for kind in ("lora_A", "lora_P", "lora_gate")
    }
    assert by_kind == {"lora_A": {rates["A"]}, "lora_P": {rates["P"]}, "lora_gate": {rates[rate]}}


@pytest.mark.parametrize(
    "options", [{"sampling": "prefix"}, {"noise": "laplace"}, {"norm_jacobian": "diagonal"}, {"kept": "0.8"}]
)
def test_options_of_the_gradient_change_it_and_nothing_that_trains(
    micro_backbones, micro_data, after_one_round, options
):
    *_, plain, _ = after_one_round
    *_, found, _ = one_round(micro_backbones, micro_data, options)
    gradients = found[0].upload.tensors["gradient"], plain[0].upload.tensors["gradient"]
    assert gradients[0].shape != gradients[1].shape or not torch.equal(*gradients)
    for name in found[0].upload.tensors:
        assert name == "gradient" or torch.equal(found[0].upload.tensors[name], plain[0].upload.tensors[name])


def test_without_alignment_each_architecture_draws_its_own(micro_backbones, micro_data, after_one_round):
    _, _, aligned, *_ = after_one_round
    _, _, drawn, *_ = one_round(micro_backbones, micro_data, {"align": "false"})
    for letter in "AB":
        name = f"mlp.up_proj.{letter}"
        assert torch.equal(drawn[0][f"local.3.{name}"], aligned[0][f"local.3.{name}"])  # the anchor's
        assert not torch.equal(drawn[2][f"local.5.{name}"], aligned[2][f"local.5.{name}"])


def test_families_share_p_and_q_through_the_small_qwen(micro_backbones, micro_data):
    found = one_round(micro_backbones, micro_data, {}, ("llama-4", "llama-6", "qwen-4"), rounds=2)
    worker, federation, states, results, downloads = found
    assert anchor_of(federation) == "qwen-4"
    frozen = worker.method.factors("llama-6")
    assert frozen.fits["5.mlp.up_proj"].rows > 0
    assert torch.equal(states[1]["local.5.mlp.up_proj.A"], frozen.tensors["5.mlp.up_proj.A"])
    weights = worker.backbone("qwen-4").model.config.text_config
    assert results[0].upload.tensors["gradient"].shape == (round(0.4 * weights.hidden_size), weights.intermediate_size)
    own = results[2].upload.tensors["3.mlp.up_proj.Q"]
    others = [results[0].upload.tensors["3.mlp.up_proj.Q"], results[1].upload.tensors["5.mlp.up_proj.Q"]]
    found = downloads[2].tensors["3.mlp.up_proj.Q"]
    assert (found >= torch.minimum(*others) - 1e-7).all()
    assert (found <= torch.maximum(*others) + 1e-7).all()
    assert not torch.equal(found, own)


def test_a_client_alone_trains_and_answers(micro_backbones, micro_data):
    _, _, states, results, downloads = one_round(micro_backbones, micro_data, {}, ("llama-4",), rounds=2)
    assert sent_letters(results[0]) == {"P", "Q", "gradient"}
    assert all(torch.equal(t, results[0].upload.tensors[name]) for name, t in downloads[0].tensors.items())
    assert not torch.equal(states[0]["local.3.mlp.up_proj.P"], results[0].state["local.3.mlp.up_proj.P"])


def test_an_absent_client_counts_with_its_last_upload(micro_backbones, micro_data, after_one_round):
    worker, federation, _, results, downloads = after_one_round
    uploads = {i: result.upload for i, result in results.items()}
    again = worker.method.aggregate(1, uploads, federation)  # nobody new: the same answer
    for i in downloads:
        assert all(torch.equal(again[i].tensors[name], t) for name, t in downloads[i].tensors.items())
    del uploads[1]  # has never sent anything: the others are aggregated without it
    fewer = worker.method.aggregate(1, uploads, federation)
    assert sorted(fewer) == [0, 2]
    name = "3.mlp.up_proj.P"
    torch.testing.assert_close(fewer[0].tensors[name], uploads[2].tensors["5.mlp.up_proj.P"])
    assert worker.method.observed()["relevance"].isnan()[1].all()
    worker.method.aggregate(0, {i: result.upload for i, result in results.items()}, federation)
