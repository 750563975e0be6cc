"""A method's own options, and what a federation says of its clients."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import pytest
import torch

from drake.config import parse_options, positive, preset
from drake.errors import DrakeError, UnknownName
from drake.federation import registry
from drake.federation.method import Architecture, Client, ClientRound, Download, Federation, Method
from drake.federation.participation import Participation


@dataclass(frozen=True)
class Options:
    temperature: float = 0.5
    blocks: int = 4
    aligned: bool = True
    pooling: str = "mean"
    gate: Literal["scalar", "input"] = "scalar"


def test_options_are_read_by_the_type_of_their_default():
    found = parse_options(Options, {"temperature": "1e-2", "blocks": "8", "pooling": "last"})
    assert found == Options(0.01, 8, True, "last")
    assert type(found.blocks) is int
    assert parse_options(Options, {}) == Options()


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("Yes", True), ("1", True), ("FALSE", False), ("no", False), ("0", False)],
)
def test_booleans_have_several_spellings(text, value):
    assert parse_options(Options, {"aligned": text}).aligned is value


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [("aligned", "maybe", "true or false"), ("blocks", "2.5", "a whole number"), ("temperature", "warm", "a number")],
)
def test_a_value_that_does_not_fit_is_refused(name, text, kind):
    with pytest.raises(DrakeError, match=rf"^option {name} is '{text}'; it must be {kind}\.$"):
        parse_options(Options, {name: text})


def test_one_of_several_words_is_taken_and_another_refused():
    assert parse_options(Options, {"gate": "input"}).gate == "input"
    with pytest.raises(DrakeError, match="unknown value of option gate 'inputs'; did you mean 'input'"):
        parse_options(Options, {"gate": "inputs"})
    with pytest.raises(DrakeError, match=r"unknown value of option gate '7'; known: input, scalar\."):
        parse_options(Options, {"gate": "7"})


def test_an_unknown_option_names_the_nearest():
    with pytest.raises(UnknownName, match="unknown option 'temprature'; did you mean 'temperature'"):
        parse_options(Options, {"temprature": "1"})
    with pytest.raises(UnknownName, match="this method has no options"):
        parse_options(Method.Options, {"temperature": "1"})


def federation(*held: Architecture) -> Federation:
    clients = tuple(Client(number, architecture.name, ()) for number, architecture in enumerate(held))
    architectures = {architecture.name: architecture for architecture in held}
    training = preset("quick").training
    return Federation(clients, architectures, 0, 1, training, lambda name: None, lambda count, purpose: [])


LLAMA_1B, LLAMA_3B = Architecture("llama1b", "llama", 16), Architecture("llama3b", "llama", 28)
QWEN_HALF, QWEN_3B = Architecture("qwen0.5b", "qwen", 24), Architecture("qwen3b", "qwen", 36)


def test_peers_hold_the_same_backbone():
    found = federation(LLAMA_1B, LLAMA_3B, LLAMA_1B, QWEN_HALF)
    assert [found.peers(client) for client in range(4)] == [[0, 2], [1], [0, 2], [3]]
    assert found.architecture(2) == LLAMA_1B


class Named(Method):
    Options = Options
    presets: ClassVar = {"official": {"temperature": "3", "gate": "input"}}
    attach = initial_state = local_update = for_inference = None


def test_a_preset_of_a_method_sets_options_that_single_ones_override():
    def options(**given):
        return Named(preset("quick").training, given).options

    assert options() == options(preset="drake") == Options()
    assert options(preset="official") == Options(temperature=3.0, gate="input")
    assert options(preset="official", temperature="2", blocks="1") == Options(2.0, 1, gate="input")
    with pytest.raises(UnknownName, match=r"unknown preset of this method 'oficial'; did you mean 'official'\?"):
        options(preset="oficial")


@pytest.mark.parametrize(("method", "name"), [(m, p) for m in registry.names() for p in registry.find(m).presets])
def test_every_preset_of_a_method_changes_what_it_names(method, name):
    found = registry.find(method)
    default, chosen = (found(preset("paper").training, given).options for given in ({}, {"preset": name}))
    assert all(getattr(default, option) != getattr(chosen, option) for option in found.presets[name])


@pytest.mark.parametrize(("value", "zero"), [(-1, False), (0, False), (-0.5, True)])
def test_numbers_that_must_be_positive(value, zero):
    with pytest.raises(DrakeError, match=f"--size is {value}; it must be"):
        positive("--size", value, zero=zero)


def test_numbers_that_are_positive():
    positive("--size", 1e-9)
    positive("--size", 0, zero=True)


@dataclass(frozen=True)
class Chosen:
    gate: Literal["scalar", "input"] = "scalar"


def test_an_option_of_a_few_names_takes_these_and_no_other():
    assert parse_options(Chosen, {"gate": "input"}) == Chosen("input")
    with pytest.raises(UnknownName, match=r"unknown value of option gate 'inptu'; did you mean 'input'\?"):
        parse_options(Chosen, {"gate": "inptu"})


def test_a_method_that_still_calls_aggregate_mix_is_called_through_with_a_warning():
    class New(Named):
        def aggregate(self, round, uploads, federation):
            return {0: "new"}

    with pytest.warns(DeprecationWarning, match=r"Old\.mix is called aggregate now; the old name goes with"):

        class Old(New):
            def mix(self, round, uploads, federation):
                return super().mix(round, uploads, federation) | {1: "old"}

    training = preset("quick").training
    assert Old(training).aggregate(0, {}, None) == Old(training).mix(0, {}, None) == {0: "new", 1: "old"}
    assert New(training).mix(0, {}, None) == {0: "new"}  # whoever calls the old name
    assert Method.aggregate(Named(training), 0, {}, None) == {}


def test_the_old_name_of_participation_still_imports_with_a_warning():
    with pytest.warns(DeprecationWarning, match="Attendance is called Participation now"):
        from drake.federation.participation import Attendance
    assert Attendance is Participation


def test_a_client_goes_on_from_its_download_unless_it_has_trained_since():
    state, download = {"a": torch.zeros(1), "b": torch.zeros(1)}, Download({"a": torch.ones(1)})
    now = ClientRound(Client(0, "x", ()), None, None, preset("quick").training, state=state)
    assert now.received() == state
    received = replace(now, download=download).received()
    assert (received["a"].item(), received["b"].item()) == (1, 0)
    assert replace(now, download=download, trained=True).received() == state
