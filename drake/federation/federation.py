"""What every participant of a federation may know: the clients, their backbones' public facts, seed, public data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from drake.config import Training

if TYPE_CHECKING:
    from drake.federation.method import Method
    from drake.models.backbones import Backbone


class Work(Protocol):
    """A part of the server's computing that any worker can do with its own instance of the method; picklable.

    backbone: the name of the backbone it needs. weight: its relative duration; the longest begin first.
    """

    @property
    def backbone(self) -> str: ...

    @property
    def weight(self) -> float: ...

    def __call__(self, method: Method) -> Any: ...


Compute = Callable[["Method", Sequence[Work]], list[Any]]
"""(method, works) -> their results, in order."""


def one_after_another(method: Method, works: Sequence[Work]) -> list[Any]:
    """The works' results, computed in this process."""
    return [work(method) for work in works]


@dataclass(frozen=True)
class Architecture:
    """The public facts of a backbone: its name, family ("llama", "qwen") and number of decoder layers."""

    name: str
    family: str
    num_layers: int


@dataclass(frozen=True)
class Client:
    """One participant: its number, the name of its backbone and its tasks in the order they arrive."""

    id: int
    backbone: str
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class Federation:
    """The facts that clients and server share.

    backbone: name -> the resident Backbone of this worker (loaded at first use).
    public: how to draw public records: (count, purpose) -> records, the same for the same arguments.
    compute: how the server's own computing is done; an aggregation in a run has the engine's workers for it.
    """

    clients: tuple[Client, ...]
    architectures: Mapping[str, Architecture]
    seed: int
    rounds: int
    training: Training
    backbone: Callable[[str], Backbone]
    public: Callable[[int, str], list[Mapping[str, Any]]]
    compute: Compute = one_after_another

    def architecture(self, client: int) -> Architecture:
        """The architecture of client number `client`."""
        return self.architectures[self.clients[client].backbone]

    def peers(self, client: int) -> list[int]:
        """The numbers of all clients with the same backbone as `client`, itself included."""
        return [c.id for c in self.clients if c.backbone == self.clients[client].backbone]
