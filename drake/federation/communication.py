"""Bytes that crossed between clients and server. The loop shows it every message; nothing else may send."""

from __future__ import annotations

from collections import Counter
from typing import Literal, NamedTuple

from drake.federation.method import Message

NUMBER_BYTES = 8
"""A plain number travels as a float64."""


class Traffic(NamedTuple):
    """One kind of tensor in one message: `kind` is the last part of the tensor's name ("A", "P", "gradient")."""

    round: int
    client: int
    direction: Literal["up", "down"]
    kind: str
    bytes: int


def traffic(round: int, client: int, direction: Literal["up", "down"], message: Message) -> list[Traffic]:
    """What a message weighs, by kind of tensor, in bytes as sent (dtype included)."""
    weights: Counter[str] = Counter()
    for name, tensor in message.tensors.items():
        weights[name.rsplit(".", 1)[-1]] += tensor.nbytes
    if message.numbers:
        weights["numbers"] = NUMBER_BYTES * len(message.numbers)
    return [Traffic(round, client, direction, kind, size) for kind, size in sorted(weights.items())]
