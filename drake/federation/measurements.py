"""What a run measures of itself: wall-clock, traffic, floating point operations. Callbacks that write into Progress."""

from __future__ import annotations

import time

from drake.federation.callbacks import Callback, ClientContext, EvaluationContext, RoundContext, RunContext
from drake.federation.communication import message_traffic


class Clock(Callback):
    """Wall-clock of training, aggregation and evaluation. The time since the hook before belongs to the phase that has
    just ended. What is measured of training includes the aggregation; the bare backbones' answers are not counted."""

    def _lap(self) -> float:
        """Seconds since the last call."""
        now = time.perf_counter()
        passed, self._last = now - self._last, now
        return passed

    def run_started(self, run: RunContext) -> None:
        self._last = time.perf_counter()

    def round_started(self, round: RoundContext) -> None:
        self._lap()

    def client_trained(self, client: ClientContext) -> None:
        client.round.seconds += self._lap()

    def round_trained(self, round: RoundContext) -> None:
        round.seconds += self._lap()

    def round_aggregated(self, round: RoundContext) -> None:
        passed = self._lap()
        round.run.progress.seconds_aggregate += passed
        round.run.progress.seconds_train += round.seconds + passed

    def evaluated(self, evaluation: EvaluationContext) -> None:
        passed = self._lap()
        if evaluation.rounds_done:
            evaluation.run.progress.seconds_eval += passed


class TrafficMeter(Callback):
    """The bytes of every message, in the order in which they cross."""

    def round_started(self, round: RoundContext) -> None:
        self._received(round)

    def round_trained(self, round: RoundContext) -> None:
        for client, result in sorted(round.results.items()):
            if result.upload is not None:
                round.run.progress.traffic += message_traffic(round.number, client, "up", result.upload)

    def round_aggregated(self, round: RoundContext) -> None:
        self._received(round)

    def _received(self, round: RoundContext) -> None:
        for client, download in sorted(round.received.items()):
            round.run.progress.traffic += message_traffic(round.number, client, "down", download)


class FlopsMeter(Callback):
    """Floating point operations: one round of one client of every backbone is counted while it trains
    (`drake.common.products`), and what a token cost there stands for all of that backbone."""

    def round_started(self, round: RoundContext) -> None:
        """Pick one client per backbone whose FLOPs are not measured yet: one that has a download, where the server
        gives any, and so none in the first round, unless there is no other round."""
        federation, progress = round.run.federation, round.run.progress
        if round.number < min(1, federation.rounds - 1):
            return
        found: dict[str, int] = {}
        for client in federation.clients:
            last_chance = not progress.downloads or round.number == federation.rounds - 1
            usual = client.id in progress.downloads or last_chance
            if usual and client.id in round.participants and client.backbone not in progress.per_token:
                found.setdefault(client.backbone, client.id)
        round.counted = set(found.values())

    def round_trained(self, round: RoundContext) -> None:
        for client, result in sorted(round.results.items()):
            round.run.progress.spent(round.run.federation.clients[client].backbone, result.stats)


def measurements() -> list[Callback]:
    """Everything that a run measures, for the beginning of its list of callbacks."""
    return [Clock(), TrafficMeter(), FlopsMeter()]
