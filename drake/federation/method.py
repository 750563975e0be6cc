"""What a federated method is. Everything that makes a method different is behind this interface; the loop knows no
method by name.

A round: every participating client runs `local_update`, its `Upload` goes to the server, the server's `mix` answers
with one `Download` per client, which the client meets again at its next `local_update` and in `for_inference`.
A backbone is held once per worker and architecture, so a method never keeps a client's tensors in the model: it
writes them in from the `State` at the start and reads them out at the end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from drake.config import Training, options_of

if TYPE_CHECKING:
    from drake.models.backbones import Backbone, Batch

State = dict[str, Tensor]
"""The tensors a client keeps between rounds, by name, in a fixed order."""

Step = list["Batch"]
"""The micro-batches whose gradients one optimizer step accumulates."""


class Steps(Protocol):
    """A client's optimizer steps of one round: sized and iterable, each made when its turn comes."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Step]: ...


@dataclass(frozen=True)
class Message:
    """Tensors by name plus plain numbers; the only thing that crosses between a client and the server."""

    tensors: Mapping[str, Tensor]
    numbers: Mapping[str, float] = field(default_factory=dict)


class Upload(Message):
    """What a client sends at the end of a round."""


class Download(Message):
    """What a client receives after the server has mixed."""


@dataclass(frozen=True)
class LocalResult:
    """What one client's round leaves behind: the state it keeps, what it sends (None: nothing), what it measured.

    stats: "loss", the mean over the steps; "tokens", where it trained on more than its batches: how many further padded
    tokens, those of a pass without a way back counting half.
    """

    state: State
    upload: Upload | None
    stats: dict[str, float]


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
    """What every participant may know: the clients, their architectures, the seed, and public data.

    backbone: name -> the resident Backbone of this worker (loaded at first use).
    public: how to draw public records: (count, purpose) -> records, the same for the same arguments.
    """

    clients: tuple[Client, ...]
    architectures: Mapping[str, Architecture]
    seed: int
    rounds: int
    training: Training
    backbone: Callable[[str], Backbone]
    public: Callable[[int, str], list[Mapping[str, Any]]]

    def architecture(self, client: int) -> Architecture:
        """The architecture of client number `client`."""
        return self.architectures[self.clients[client].backbone]

    def peers(self, client: int) -> list[int]:
        """The numbers of all clients with the same backbone as `client`, itself included."""
        return [c.id for c in self.clients if c.backbone == self.clients[client].backbone]

    @property
    def anchor(self) -> str:
        """The backbone that every client can afford: the one with the fewest layers, Qwen first where families mix
        (the official choice for two families), then by name."""
        families = {a.family for a in self.architectures.values()}
        known = sorted(self.architectures.values(), key=lambda a: (a.num_layers, a.name))
        return next((a for a in known if len(families) > 1 and a.family == "qwen"), known[0]).name


class Method(ABC):
    """A method of personalised federated learning.

    Subclasses set the class attributes, and may define a frozen dataclass `Options` whose fields are the method's own
    hyperparameters (`--set NAME.FIELD=VALUE`), and `presets` of them (`--set NAME.preset=official`).
    """

    reference: ClassVar[str] = ""
    """Where the method comes from, as a citation."""
    sends: ClassVar[str] = "nothing"
    """What a client uploads, in words."""
    mixed: ClassVar[bool] = True
    """Whether clients may hold backbones of different sizes and families."""
    relative_cost: float = 1.0
    """Work of one local step in units of an SFT step; local steps are divided by it, so that all spend the same."""

    presets: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    """Name -> options that differ from their defaults, which are the preset "drake"."""

    @dataclass(frozen=True)
    class Options:
        """A method without hyperparameters of its own."""

    def __init__(self, training: Training, options: Mapping[str, Any] | None = None) -> None:
        self.training = training
        self.options = options_of(type(self), options or {})

    def join(self, federation: Federation) -> None:
        """Learn who takes part, before everything else. What `attach`, `for_inference`, `sent` and `received` need is
        known after this alone: `drake export` and `drake comm` have no data and do not `prepare`."""
        self.federation = federation

    def prepare(self, federation: Federation) -> None:  # noqa: B027  (a hook most methods do not need)
        """Once before the first round, on public data alone; must give the same result on every worker."""

    @abstractmethod
    def attach(self, backbone: Backbone, client: Client) -> nn.Module:
        """Put the adapters on a backbone and return the model that answers; called once per backbone and worker, with
        the first client that uses it."""

    @abstractmethod
    def initial_state(self, model: nn.Module, client: Client, rng: torch.Generator) -> State:
        """The client's tensors before the first round; random values come from `rng` alone."""

    @abstractmethod
    def local_update(
        self,
        model: nn.Module,
        state: State,
        download: Download | None,
        batches: Steps,
        rng: torch.Generator,
    ) -> LocalResult:
        """Train one round. `download` is what the server sent last (None before the first mixing); `batches` yields
        one Step per optimizer step; `len(batches)` is how many, at least one. Global random state (dropout) is seeded
        by the caller from (seed, client, round).
        """

    def mix(self, round: int, uploads: Mapping[int, Upload], federation: Federation) -> Mapping[int, Download]:
        """Turn the uploads, by client number, into one Download per client that shall receive one. A client that sat
        a round out is in `uploads` with its last upload. The default shares nothing."""
        return {}

    def server_state(self) -> State:
        """What the server itself carries from this mixing to the next; stored with the round. Default: nothing."""
        return {}

    def restore(self, state: State) -> None:  # noqa: B027
        """Go on from what `server_state` returned, also in another process; called before the first round too, with
        nothing."""

    def sent(self, model: nn.Module, client: Client) -> Mapping[str, Tensor]:
        """The tensors of one upload of the client, for their names, shapes and dtypes alone (they may lie on the meta
        device); `model` is what `attach` returned. The default sends nothing."""
        return {}

    def received(self, model: nn.Module, client: Client) -> Mapping[str, Tensor]:
        """The same for one download; the default is what the client sends, as where a mean comes back."""
        return self.sent(model, client)

    def observed(self) -> Mapping[str, Tensor]:
        """Matrices of the last mixing worth keeping beside the run (FedMosaic: the relevance [N, N])."""
        return {}

    @abstractmethod
    def for_inference(self, model: nn.Module, state: State, download: Download | None) -> None:
        """Make `model` answer as this client; called before every evaluation of the client."""
