"""What a client answers with at both moments of a round, for every method: its freshly trained adapters beside what it
received at the start of the round (trained), or what it has received since (aggregated)."""

from functools import cache

import pytest
import torch

from drake.config import configure
from drake.engines.serial import Serial
from drake.federation import adapters
from drake.federation.callbacks import Callback, RunContext
from drake.federation.loop import run_rounds
from drake.runs import Setup
from drake.runs.evaluation import answerer

CLIENTS = (0, 1, 2)  # 0 and 2 hold one backbone, 1 is alone with the larger one
SHARED, PERSONAL = "shared", "personal"


class _Present:
    """Participation by a list of who takes part in each round."""

    def __init__(self, *rounds):
        self.rounds = rounds

    def present(self, federation, round):
        return frozenset(self.rounds[round])


class _History(Callback):
    """By round: the state before, the download before, the state after, the download after, of every client."""

    def __init__(self):
        self.rounds = []

    def round_started(self, round):
        progress = round.run.progress
        self.rounds.append({"before": dict(progress.states), "received": dict(progress.downloads)})

    def round_trained(self, round):
        self.rounds[-1]["trained"] = dict(round.run.progress.states)

    def round_aggregated(self, round):
        self.rounds[-1]["new"] = dict(round.run.progress.downloads)


@pytest.fixture(scope="module")
def answering(micro_backbones, micro_data):
    """(method, participation) -> (history, answers): the adapters that are in the model, and which are active, by
    (moment, round from 1, client), in two rounds of two steps."""

    @cache
    def found(method, present=(CLIENTS, CLIENTS)):
        numbers = {"steps": 2, "micro_batch": 1, "accumulation": 1, "rounds": 2, "device": "cpu", "clients": 3}
        models = (micro_backbones["llama-4"], micro_backbones["llama-6"])
        setup = Setup(configure(method, "quick", models=models, data=micro_data, **numbers | CHEAP.get(method, {})))
        worker, history, answers = setup.worker(0), _History(), {}

        def evaluate(run, rounds_done, asked):
            for number in CLIENTS:
                mine = answerer(worker.federation.clients[number], run.progress, asked)
                model = worker.answer_as(mine.client, mine.state, mine.download, rounds_done, mine.trained)
                first = next(iter(adapters.layers(model).values()))
                held = {name: adapters.read(model, name) for name in first.lora_A}
                answers[asked, rounds_done, number] = held, list(first._active_adapter)
            return {}

        run = RunContext(worker.federation, worker.method)
        there = _Present(*present)
        run_rounds(Serial(worker), run, [history], there, evaluate, evaluation_rounds=(1, 2), also_aggregated=True)
        return history.rounds, answers

    return found


def of(adapter, *sources):
    """The tensors of one adapter; later sources, states or downloads, win."""
    found = {}
    for source in sources:
        found |= adapters.part(adapter, getattr(source, "tensors", source))
    return found


def expected(method, round, client, moment):
    """(adapter -> its tensors, which of them are active) of a round in which the client trained. Written out from the
    descriptions of the methods; an adapter whose B is zero adds nothing, whatever its A."""
    state, start = round["trained"][client], round["before"][client]
    received, new = round["received"].get(client), round["new"].get(client)
    now = state if moment == "trained" else new
    if method in ("sft", "fedmkt"):
        return {"local": {key: value for key, value in state.items() if key != "losses"}}, ["local"]
    if method in ("fedit", "takfl"):
        return {SHARED: of(SHARED, now)}, [SHARED]
    if method in ("ditto", "perada"):
        return {PERSONAL: of(PERSONAL, state)}, [PERSONAL]
    if method in ("fedsim", "feddpa"):
        return {SHARED: of(SHARED, now), PERSONAL: of(PERSONAL, state)}, None if method == "fedsim" else [
            SHARED,
            PERSONAL,
        ]
    if method == "feddat":
        beside = of(SHARED, received or start) if moment == "trained" else of(SHARED, new)
        return {PERSONAL: of(PERSONAL, state), "received": beside}, [PERSONAL, "received"]
    assert method == "fedmosaic"
    sent = (received.tensors if received else {}) if moment == "trained" else new.tensors
    own = of("local", start if moment == "trained" else state)
    return {"local": of("local", state), "global": own | dict(sent)}, ["local", "global"]


CHEAP = {"perada": {"perada.records": 2}, "takfl": {"takfl.records": 2}}
"""Options with which a server's distillation takes less than a second."""
METHODS = ["sft", "fedit", "ditto", "feddat", "perada", "fedsim", "feddpa", "takfl", "fedmkt", "fedmosaic"]


@pytest.mark.parametrize("moment", ["trained", "aggregated"])
@pytest.mark.parametrize("method", METHODS)
def test_the_model_that_answers_is_the_one_of_the_moment(answering, method, moment):
    history, answers = answering(method)
    for number, round in enumerate(history, start=1):
        for client in CLIENTS:
            held, active = answers[moment, number, client]
            adapter_tensors, names = expected(method, round, client, moment)
            assert names is None or active == names
            for adapter, tensors in adapter_tensors.items():
                assert held[adapter].keys() == tensors.keys()
                adds_nothing = all(not tensor.any() for name, tensor in tensors.items() if name.endswith(".B"))
                for name, tensor in tensors.items():
                    if not (adds_nothing and name.endswith(".A")):
                        assert torch.equal(held[adapter][name], tensor), (number, client, adapter, name)


def test_a_client_that_was_absent_answers_with_the_download_that_it_has(answering):
    history, answers = answering("fedit", (CLIENTS, (1, 2)))
    held, _ = answers["trained", 2, 0]
    received = of(SHARED, history[0]["new"][0])
    assert not torch.equal(received["0.mlp.up_proj.B"], of(SHARED, history[0]["trained"][0])["0.mlp.up_proj.B"])
    assert all(torch.equal(held[SHARED][name], tensor) for name, tensor in received.items())
