"""Which backbone measures relevance, and is the one that others are aligned to."""

import pytest
from drake_methods.frozen import anchor_of

from drake.config import preset
from drake.federation.federation import Architecture, Client, Federation

LLAMA_1B, LLAMA_3B = Architecture("llama1b", "llama", 16), Architecture("llama3b", "llama", 28)
QWEN_HALF, QWEN_3B = Architecture("qwen0.5b", "qwen", 24), Architecture("qwen3b", "qwen", 36)


@pytest.mark.parametrize(
    ("held", "anchor"),
    [
        ((LLAMA_3B, LLAMA_1B), "llama1b"),
        ((LLAMA_3B,), "llama3b"),
        ((LLAMA_1B, QWEN_3B), "qwen3b"),
        ((QWEN_3B, LLAMA_1B, QWEN_HALF), "qwen0.5b"),
        ((Architecture("b", "llama", 8), Architecture("a", "llama", 8)), "a"),
    ],
)
def test_the_anchor_has_the_fewest_layers_qwen_first_where_families_mix(held, anchor):
    clients = tuple(Client(number, architecture.name, ()) for number, architecture in enumerate(held))
    architectures = {architecture.name: architecture for architecture in held}
    training = preset("quick").training
    facts = (clients, architectures, 0, 1, training, lambda name: None, lambda count, purpose: [])
    assert anchor_of(Federation(*facts)) == anchor
