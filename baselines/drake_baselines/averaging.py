"""FedAvg of a shared adapter G beside a personal adapter L: the common part of the averaging baselines.

    G_a <- mean of G_j over the clients j of backbone a        (FedAvg, McMahan et al., AISTATS 2017, uniform)

Adapters of different backbones have different shapes, so every backbone has its own mean. A client continues from its
download; tensors that the download does not hold stay the client's own.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from drake.federation import adapters
from drake.federation.federation import Client, Federation
from drake.federation.messages import Download, LocalResult, State, Upload
from drake.federation.method import ClientRound, Method, Steps
from drake.models.backbones import Backbone

SHARED, PERSONAL = "shared", "personal"
"""Names of the adapters G and L."""


def by_backbone(clients: Iterable[int], federation: Federation) -> dict[str, list[int]]:
    """Backbone -> those of `clients` that hold it, in ascending order."""
    groups: dict[str, list[int]] = {}
    for client in sorted(clients):
        groups.setdefault(federation.clients[client].backbone, []).append(client)
    return groups


def largest_backbone(federation: Federation) -> str:
    """The backbone with the most weights in its layers, estimated as layers x width^2; of equals the last by name."""
    held = {client.backbone for client in federation.clients}
    found = {name: federation.backbone(name) for name in held}
    return max(held, key=lambda name: (found[name].num_layers * found[name].hidden_size ** 2, name))


def averages(uploads: Mapping[int, Upload], federation: Federation) -> dict[int, Download]:
    """For every client in `uploads` the uniform mean over the uploads from its backbone. Tensors are added in ascending
    order of clients, so that the order of `uploads` does not change a bit of the result."""
    groups = by_backbone(uploads, federation)
    means = {name: Download(adapters.mean([uploads[i].tensors for i in group])) for name, group in groups.items()}
    return {client: means[federation.clients[client].backbone] for client in sorted(uploads)}


@dataclass(frozen=True)
class Faults(Method.Options):
    """average_personal: repeat a fault of the official code (default: off): L is sent and averaged like G, and the
    download overwrites the client's L."""

    average_personal: bool = False


class Averaging(Method):
    """A client keeps the adapters `kept` in its state; it sends those in `averaged` and receives their mean.

    Tensors are named "<adapter>.<layer>.<projection>.<A|B>" in states, uploads and downloads. A subclass defines how
    the adapters train (`train`) and which of them are active when the client is evaluated (`for_inference`).
    """

    kept: ClassVar[tuple[str, ...]] = (SHARED, PERSONAL)

    @property
    def averaged(self) -> tuple[str, ...]:
        """The adapters that leave the client."""
        everything = isinstance(self.options, Faults) and self.options.average_personal
        return self.kept if everything else (SHARED,)

    def attach(self, backbone: Backbone, client: Client) -> nn.Module:
        return adapters.add(backbone.model, self.kept, self.training)

    def initial_state(self, now: ClientRound) -> State:
        return _joined({name: adapters.fresh(now.model, name, now.generator) for name in self.kept})

    def local_update(self, now: ClientRound, batches: Steps) -> LocalResult:
        self.receive(now)
        now.model.train()
        losses = self.train(now, batches)
        read = {name: adapters.read(now.model, name) for name in self.kept}
        upload = Upload(_joined({name: read[name] for name in self.averaged}))
        return LocalResult(_joined(read), upload, {"loss": sum(losses) / len(losses)})

    def receive(self, now: ClientRound) -> None:
        """Write the client's adapters into the model; tensors of the download take precedence over the client's own."""
        for name in self.kept:
            adapters.write(now.model, name, adapters.part(name, now.received()))

    @abstractmethod
    def train(self, now: ClientRound, batches: Steps) -> Sequence[float]:
        """Train the adapters in the client's model, in place; returns the losses to report, at least one."""

    def sent(self, now: ClientRound) -> Mapping[str, Tensor]:
        return _joined({name: adapters.tensors(now.model, name) for name in self.averaged})

    def aggregate(self, round: int, uploads: Mapping[int, Upload], federation: Federation) -> Mapping[int, Download]:
        return averages(uploads, federation)


def _joined(states: Mapping[str, Mapping[str, Tensor]]) -> State:
    """The states of several adapters as one, each tensor under "<adapter>.<name>"."""
    return {key: tensor for name, state in states.items() for key, tensor in adapters.prefixed(name, state).items()}
