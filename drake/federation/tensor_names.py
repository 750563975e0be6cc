"""The names of adapter tensors, read and written in one place: "<layer>.<projection>.<role>", as
"3.self_attn.q_proj.A". A state may put the name of an adapter before it ("shared.3.self_attn.q_proj.A"), and other
tensors have a name of one word ("gradient"), which is their role.
"""

from __future__ import annotations

from typing import NamedTuple


class TensorName(NamedTuple):
    """One tensor of an adapter. layer: the decoder layer, from 0. projection: the linear layer in it
    ("self_attn.q_proj"). role: "A" [r, d_in], "B" [d_out, r], or what a method's own layer adds."""

    layer: int
    projection: str
    role: str

    @classmethod
    def parse(cls, name: str) -> TensorName:
        """The parts of a name without an adapter before it; ValueError for any other."""
        place, _, role = name.rpartition(".")
        return cls(layer_number(place), place.partition(".")[2], role)

    @property
    def place(self) -> str:
        """The linear layer: "3.self_attn.q_proj"."""
        return f"{self.layer}.{self.projection}"

    def __str__(self) -> str:
        return f"{self.place}.{self.role}"


def layer_number(place: str) -> int:
    """The decoder layer that a linear layer ("3.self_attn.q_proj") is in."""
    return int(place.partition(".")[0])


def role(name: str) -> str:
    """What a tensor is: the last part of its name ("A", "B", "P", "gradient")."""
    return name.rpartition(".")[2]
