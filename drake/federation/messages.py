"""What crosses between a client and the server, and what a client's round leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

State = dict[str, Tensor]
"""The tensors a client keeps between rounds, by name, in a fixed order."""


OPTIMIZER = "optimizer."
"""How the names of an optimizer's moments begin in a State. Methods do not meet them: `ClientRound.optimizer` does."""


def split_moments(state: Mapping[str, Tensor]) -> tuple[State, State]:
    """(the method's own tensors of a client's state, the moments of its optimizer by name)."""
    own = {name: tensor for name, tensor in state.items() if not name.startswith(OPTIMIZER)}
    moments = {name: tensor for name, tensor in state.items() if name.startswith(OPTIMIZER)}
    return own, {name.removeprefix(OPTIMIZER): tensor for name, tensor in moments.items()}


@dataclass(frozen=True)
class Message:
    """Tensors by name plus plain numbers; the only thing that crosses between a client and the server."""

    tensors: Mapping[str, Tensor]
    numbers: Mapping[str, float] = field(default_factory=dict)


class Upload(Message):
    """What a client sends at the end of its local training."""


class Download(Message):
    """What a client receives after the server has aggregated."""


@dataclass(frozen=True)
class LocalResult:
    """What one client's round leaves behind: the state it keeps, what it sends (None: nothing), what it measured.

    stats: "loss", the mean over the steps; "tokens", where it trained on more than its batches: how many further padded
    tokens, those of a pass without a way back counting half.
    """

    state: State
    upload: Upload | None
    stats: dict[str, float]
