"""All that a run carries from one round to the next."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from drake.federation.communication import MessageTraffic
from drake.federation.messages import Download, LocalResult, State, Upload


@dataclass
class Progress:
    """The state of a run between two rounds; nothing lives anywhere else.

    rounds_done: finished rounds. states, downloads, uploads: by client number. waiting: what the server holds ready for
    clients that are absent. server: what `Method.server_state` returned. losses[round][client]. By backbone, tokens:
    how many its clients have trained on, padding included; per_token: floating point operations that one of them cost.
    """

    states: dict[int, State] = field(default_factory=dict)
    downloads: dict[int, Download] = field(default_factory=dict)
    uploads: dict[int, Upload] = field(default_factory=dict)
    waiting: dict[int, Download] = field(default_factory=dict)
    server: State = field(default_factory=dict)
    rounds_done: int = 0
    traffic: list[MessageTraffic] = field(default_factory=list)
    losses: list[dict[int, float]] = field(default_factory=list)
    tokens: dict[str, float] = field(default_factory=dict)
    per_token: dict[str, float] = field(default_factory=dict)
    seconds_train: float = 0.0
    seconds_aggregate: float = 0.0
    seconds_eval: float = 0.0

    def trained(self, client: int) -> bool:
        """Whether the client has trained in the round that was taken in last. Right after that, and before the server
        aggregates, its state is then newer than its download."""
        return bool(self.losses) and client in self.losses[-1]

    def take_in(self, results: Mapping[int, LocalResult]) -> None:
        """The clients' local training of one round is over; in the order of their numbers, whoever finished first."""
        for client, result in sorted(results.items()):
            self.states[client] = result.state
            if result.upload is not None:
                self.uploads[client] = result.upload
        self.losses.append({i: found.stats["loss"] for i, found in sorted(results.items()) if "loss" in found.stats})

    def deliver(self, downloads: Mapping[int, Download], participants: Collection[int]) -> dict[int, Download]:
        """Give every participant the newest download there is for it; the others' wait. Returns what was given."""
        self.waiting |= dict(sorted(downloads.items()))
        given = {client: self.waiting.pop(client) for client in sorted(self.waiting) if client in participants}
        self.downloads |= given
        return given

    def spent(self, backbone: str, stats: Mapping[str, float]) -> None:
        """Add the work of a client's round, as its `Job` measured it."""
        if tokens := stats.get("tokens"):
            self.tokens[backbone] = self.tokens.get(backbone, 0) + tokens
            if "flops" in stats:
                self.per_token[backbone] = stats["flops"] / tokens

    def flops(self) -> float | None:
        """Floating point operations of all local training so far; None while those of a backbone are not known."""
        if not self.tokens or self.tokens.keys() - self.per_token.keys():
            return None
        return sum(tokens * self.per_token[name] for name, tokens in self.tokens.items())
