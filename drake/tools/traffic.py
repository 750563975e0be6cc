"""`drake comm`: what each method would send, for real architectures, without weights, data or network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from drake import catalog
from drake.config import Config
from drake.errors import DrakeError
from drake.federation import registry
from drake.federation.communication import message_traffic
from drake.federation.method import Architecture, Client, ClientRound, Federation, Message, Method
from drake.models import backbones
from drake.runs.device import DTYPES

PAPER_SAVING = 0.109
"""What the paper reports FedMosaic to save against the most economical baseline, as a fraction."""

Kinds = Mapping[str, float]
"""Kind of tensor (the last part of its name) -> bytes."""


@dataclass(frozen=True)
class Cost:
    """What every client of a federation sends and receives in a round with one method, in bytes by kind of tensor.

    backbones[i], up[i], down[i]: client i's. Counted is what a run counts as its traffic: every tensor in the dtype it
    is sent in. Adapters are float32 in memory and on the way, whatever the backbones' dtype. Plain numbers beside the
    tensors, some bytes a message, are left out.
    """

    backbones: tuple[str, ...]
    up: tuple[Kinds, ...]
    down: tuple[Kinds, ...]

    def mean(self, direction: Literal["up", "down"], backbone: str | None = None) -> dict[str, float]:
        """Bytes per client and round by kind, over the clients of `backbone` or over all."""
        rows = {"up": self.up, "down": self.down}[direction]
        chosen = [row for held, row in zip(self.backbones, rows, strict=True) if backbone in (None, held)]
        kinds = sorted({kind for row in chosen for kind in row})
        return {kind: sum(row.get(kind, 0) for row in chosen) / len(chosen) for kind in kinds}

    @property
    def total(self) -> float:
        """Bytes per client and round, both ways together."""
        return sum(self.mean("up").values()) + sum(self.mean("down").values())


def costs(configs: Sequence[Config]) -> dict[str, Cost | None]:
    """Method -> its Cost in a federation of the Config's models, dealt to clients as in a run; None where the method
    says that it sends something but not what (it lacks `Method.sent`)."""
    return {config.method: cost(config, catalog.assign(config.models).models) for config in configs}


def relative(found: Mapping[str, Cost | None]) -> dict[str, float | None]:
    """Method -> its total against that of the most economical other method that sends adapters, as a fraction less 1
    (-0.109: 10.9% less); None where there is nothing to compare. What sends logits is of another order."""
    counted = {name: cost for name, cost in found.items() if cost is not None and cost.total}
    totals = {name: cost.total for name, cost in counted.items()}
    weights = {name: total for name, total in totals.items() if any("A" in kinds for kinds in counted[name].up)}
    others = {name: [total for title, total in weights.items() if title != name] for name in totals}
    return {name: totals[name] / min(others[name]) - 1 if others.get(name) else None for name in found}


def cost(config: Config, held_by: Sequence[str]) -> Cost | None:
    """The Cost of the Config's method in a federation whose clients hold these backbones; see `costs`."""
    method_class = registry.find(config.method)
    if method_class.sent is Method.sent and method_class.sends != Method.sends:
        return None
    clients = tuple(Client(number, backbone, ()) for number, backbone in enumerate(held_by))
    method = method_class(config.training, config.method_options)
    dtype = DTYPES[config.execution.dtype]
    outlines = {held: backbones.outline(held, dtype=dtype) for held in sorted(set(held_by))}
    method.join(
        Federation(
            clients=clients,
            architectures={held: Architecture(held, o.family, o.num_layers) for held, o in outlines.items()},
            seed=0,
            rounds=1,
            training=config.training,
            backbone=outlines.__getitem__,
            public=_no_data,
        )
    )
    models: dict[str, nn.Module] = {}
    for client in clients:
        if client.backbone not in models:
            with torch.device("meta"):
                models[client.backbone] = method.attach(outlines[client.backbone], client)
    asked = [
        ClientRound(client, outlines[client.backbone], models[client.backbone], config.training) for client in clients
    ]
    return Cost(
        backbones=tuple(client.backbone for client in clients),
        up=tuple(_kinds(Message(method.sent(now))) for now in asked),
        down=tuple(_kinds(Message(method.received(now))) for now in asked),
    )


def _kinds(message: Message) -> Kinds:
    return {row.kind: row.bytes for row in message_traffic(0, 0, "up", message)}


def _no_data(count: int, purpose: str) -> list:
    raise DrakeError(f"the method wants public data ({purpose}) where shapes must do; it cannot be counted so.")
