"""What a federated method is. Everything that makes a method different is behind this interface; the loop knows no
method by name.

A round: every participating client runs `local_update`, its `Upload` goes to the server, the server's `aggregate`
answers with one `Download` per client, which the client finds in its next `ClientRound`.
A backbone is held once per worker and architecture, so a method never keeps a client's tensors in the model: it
writes them in from the client's state at the start and reads them out at the end.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from drake.config import Training, options_of
from drake.federation.federation import Architecture, Client, Federation
from drake.federation.messages import Download, LocalResult, Message, State, Upload

if TYPE_CHECKING:
    from drake.federation.local_training import LocalOptimizer
    from drake.models.backbones import Backbone, Batch

__all__ = [
    "Architecture",
    "Client",
    "ClientRound",
    "Download",
    "Federation",
    "LocalResult",
    "Message",
    "Method",
    "State",
    "Step",
    "Steps",
    "Upload",
]

Step = list["Batch"]
"""The micro-batches whose gradients one optimizer step accumulates."""


class Steps(Protocol):
    """A client's optimizer steps of one round: sized and iterable, each made when its turn comes."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Step]: ...


@dataclass(frozen=True)
class ClientRound:
    """Whose round it is: the one argument of everything that a method does for a client.

    client: who. backbone: the resident backbone that it holds. model: what `attach` returned for that backbone.
    training: the numbers of local training. round: counted from 0. state: what the client keeps; empty before its first
    round. download: what the server sent it last; None before the first one. generator: for random draws, seeded from
    the run's seed, the purpose, the client and the round. moments: of the client's optimizer, by name, after its last
    round; empty where it starts fresh. trained: whether the client has trained since it received the
    download, so that its state is the newer; only in `for_inference`, at evaluation point `trained`.
    """

    client: Client
    backbone: Backbone
    model: nn.Module
    training: Training
    round: int = 0
    state: State = field(default_factory=dict)
    download: Download | None = None
    generator: torch.Generator = field(default_factory=torch.Generator)
    trained: bool = False
    moments: State = field(default_factory=dict)
    _optimizers: list[LocalOptimizer] = field(default_factory=list)

    def optimizer(self, groups: Iterable[tuple[Iterable[nn.Parameter], float]]) -> LocalOptimizer:
        """AdamW for the client's local training. groups: (parameters of `model`, learning rate) pairs.

        With the setting `training.optimizer_state` "kept" it goes on with the moments that these parameters had at the
        end of the client's last round. A method that trains one parameter with two optimizers keeps those of the last.
        """
        from drake.federation.local_training import LocalOptimizer  # here: it imports the backbones

        made = LocalOptimizer(groups, self.training)
        if self.training.optimizer_state == "kept":
            made.restore(self.moments, self._names())
            self._optimizers.append(made)
        return made

    def moments_after(self) -> State:
        """The moments that the client keeps after its local training, by name."""
        found = dict(self.moments)
        for optimizer in self._optimizers:
            found |= optimizer.moments(self._names())
        return found

    def _names(self) -> dict[nn.Parameter, str]:
        return {parameter: name for name, parameter in self.model.named_parameters()}

    def received(self) -> State:
        """What the client goes on from: the state, with every tensor of the download in the place of the one of the
        same name, unless the state is the newer."""
        if self.download is None or self.trained:
            return self.state
        return self.state | dict(self.download.tensors)


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
    needs_public: bool = False
    """Whether it learns from public records; a run that has none is refused before it begins."""
    pooled: ClassVar[bool] = False
    """Whether the clients of a backbone are one: the first one trains on the records of all, and all get its state."""
    trains: ClassVar[bool] = True
    """Whether clients train. Where not, a run is one evaluation of the states that they begin with."""
    relative_cost: float = 1.0
    """Work of one local step in units of an SFT step; local steps are divided by it, so that all spend the same."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Name -> options that differ from their defaults, which are the preset "drake"."""

    @dataclass(frozen=True)
    class Options:
        """A method without hyperparameters of its own."""

    def __init__(self, training: Training, options: Mapping[str, Any] | None = None) -> None:
        self.training = training
        self.options = options_of(type(self), options or {})

    def __init_subclass__(cls, **options: Any) -> None:
        """`aggregate` was called `mix`: a subclass that defines the old name alone works for one release."""
        super().__init_subclass__(**options)
        if "mix" in vars(cls) and "aggregate" not in vars(cls):
            sentence = f"{cls.__qualname__}.mix is called aggregate now; the old name goes with version 0.3."
            warnings.warn(sentence, DeprecationWarning, stacklevel=2)
            cls.aggregate = vars(cls)["mix"]
        elif "aggregate" in vars(cls):
            cls.mix = vars(cls)["aggregate"]  # for `super().mix` in such a subclass

    def wants_public(self, backbones: int) -> bool:
        """Whether a run with so many different backbones needs public records; asked before anything is loaded."""
        return self.needs_public

    def inputs(self, clients: Sequence[Client]) -> Mapping[str, Any]:
        """What decides the clients' first states beside options and seed, such as digests of files, as plain values for
        the run's identity. Asked before anything is loaded, so DrakeError here is early. Default: nothing."""
        return {}

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
    def initial_state(self, now: ClientRound) -> State:
        """The client's tensors before the first round; random values come from `now.generator` alone, which is seeded
        alike for all clients of one backbone."""

    @abstractmethod
    def local_update(self, now: ClientRound, batches: Steps) -> LocalResult:
        """Train one round. `batches` yields one Step per optimizer step; `len(batches)` is how many, at least one.
        PyTorch's global generator (dropout) is seeded by the caller from (seed, client, round)."""

    def aggregate(self, round: int, uploads: Mapping[int, Upload], federation: Federation) -> Mapping[int, Download]:
        """The server: turn the uploads, by client number, into one Download per client that shall receive one. A client
        that was absent is in `uploads` with its last upload. The default shares nothing."""
        return {}

    mix = aggregate

    def server_state(self) -> State:
        """What the server itself carries from this aggregation to the next; stored with the round. Default: nothing."""
        return {}

    def restore(self, state: State) -> None:  # noqa: B027
        """Go on from what `server_state` returned, also in another process; called before the first round too, with
        nothing."""

    def sent(self, now: ClientRound) -> Mapping[str, Tensor]:
        """The tensors of one upload of the client, for their names, shapes and dtypes alone (they may lie on the meta
        device; the backbone may be an outline without weights). The default sends nothing."""
        return {}

    def received(self, now: ClientRound) -> Mapping[str, Tensor]:
        """The same for one download; the default is what the client sends, as where a mean comes back."""
        return self.sent(now)

    def observed(self) -> Mapping[str, Tensor]:
        """Matrices of the last aggregation worth keeping beside the run (FedMosaic: the relevance [N, N])."""
        return {}

    @abstractmethod
    def for_inference(self, now: ClientRound) -> None:
        """Make `now.model` answer as this client; called before every evaluation of the client."""
