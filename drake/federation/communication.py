"""Traffic: the bytes that cross between clients and server, by kind of tensor."""

from __future__ import annotations

from collections import Counter
from typing import Literal, NamedTuple

from drake.federation.messages import Message
from drake.federation.tensor_names import role

NUMBER_BYTES = 8
"""A plain number travels as a float64."""


class MessageTraffic(NamedTuple):
    """One kind of tensor in one message. kind: the role of the tensors ("A", "P", "gradient"; see `tensor_names`)."""

    round: int
    client: int
    direction: Literal["up", "down"]
    kind: str
    bytes: int


def message_traffic(
    round: int, client: int, direction: Literal["up", "down"], message: Message
) -> list[MessageTraffic]:
    """What a message weighs, by kind of tensor, in bytes as sent (dtype included)."""
    weights: Counter[str] = Counter()
    for name, tensor in message.tensors.items():
        weights[role(name)] += tensor.nbytes
    if message.numbers:
        weights["numbers"] = NUMBER_BYTES * len(message.numbers)
    return [MessageTraffic(round, client, direction, kind, size) for kind, size in sorted(weights.items())]
