"""Who takes part in a round: partial participation, clients that drop out, stragglers that miss the deadline, clients
that join late.

All draws are made from (seed, round) alone. An absent client keeps its state and what it received last; its data
arrive all the same, and the server goes on with its last upload. What the server aggregated for it meanwhile waits, and
it gets the newest when it is back.

A client that joins late is absent until its first round, from what everybody begins with: no method gives its model to
a client that has sent nothing yet. It then trains on all that has arrived for it, and is scored at every point.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from drake.common.seeds import python_random
from drake.errors import DrakeError

if TYPE_CHECKING:
    from drake.federation.federation import Federation

SPEED_SPREAD, ROUND_SPREAD = 0.5, 0.25
"""Standard deviations of the logarithm of a client's slowness, between clients and between its rounds."""


@dataclass(frozen=True)
class Participation:
    """participation: share of the clients that the server asks in a round. dropout: probability that an asked client
    fails. deadline: simulated time after which an answer is dropped, in units of the median client's usual round; None
    for no deadline. absent: clients, by number, that never take part; the server asks none of them. late: (client,
    round) pairs of those that join late, with the first round that each trains in, from 0. A round that nobody finishes
    changes nothing."""

    participation: float = 1.0
    dropout: float = 0.0
    deadline: float | None = None
    absent: tuple[int, ...] = ()
    late: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.participation <= 1:
            raise DrakeError(f"--participation is {self.participation}; it must be above 0 and at most 1.")
        if not 0 <= self.dropout < 1:
            raise DrakeError(f"--client-dropout is {self.dropout}; it must be from 0 up to, but not 1.")
        if self.deadline is not None and not self.deadline > 0:
            raise DrakeError(f"--deadline is {self.deadline}; it must be more than zero.")

    def present(self, federation: Federation, round: int) -> frozenset[int]:
        """The numbers of the clients whose work of the round (from 0) counts."""
        seed, starts = federation.seed, dict(self.late)
        everyone = [c.id for c in federation.clients if c.id not in self.absent and round >= starts.get(c.id, 0)]
        if not everyone:
            return frozenset()
        asked = max(1, round_half_up(self.participation * len(everyone)))
        there = sorted(python_random(seed, "participation", round).sample(everyone, asked))
        if self.dropout:
            there = [i for i in there if python_random(seed, "dropped out", i, round).random() >= self.dropout]
        if self.deadline is not None:
            usual = {i: self._usual_time(federation, i) for i in everyone}
            limit = self.deadline * median(usual.values())
            there = [i for i in there if usual[i] * _slowness(seed, ROUND_SPREAD, i, round) <= limit]
        return frozenset(there)

    @staticmethod
    def _usual_time(federation: Federation, client: int) -> float:
        return federation.architecture(client).num_layers * _slowness(federation.seed, SPEED_SPREAD, client)


EVERYONE = Participation()
"""All clients in every round."""


def round_half_up(value: float) -> int:
    """2.5 -> 3: a share of an odd number of clients is never rounded away."""
    return math.floor(value + 0.5)


def _slowness(seed: int, spread: float, *where: int) -> float:
    return math.exp(python_random(seed, "slowness", *where).gauss(0, spread))


def __getattr__(name: str) -> type[Participation]:
    if name != "Attendance":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    sentence = "Attendance is called Participation now; the old name goes with version 0.3."
    warnings.warn(sentence, DeprecationWarning, stacklevel=2)
    return Participation
