"""Answering test records as a task of an engine: some records, answered by every client of a backbone in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from torch import nn

from drake.engines.serial import Shared
from drake.engines.worker import Worker
from drake.federation import adapters
from drake.federation.federation import Client
from drake.federation.loop import EvaluateAt
from drake.federation.messages import Download, State, split_moments
from drake.federation.state import Progress
from drake.scoring.generation import TOGETHER, Answer, answers

PART = TOGETHER
"""Batches that are answered as one task and stored together."""


class Answerer(NamedTuple):
    """All that makes a model answer as a client. trained: whether its state is newer than its download, see
    `ClientRound`."""

    client: Client
    state: State
    download: Download | None
    trained: bool = False


def answerer(client: Client, progress: Progress, moment: EvaluateAt) -> Answerer:
    """How the client answers at this moment of a round; one that did not train in it goes on from its download."""
    trained = moment == "trained" and progress.trained(client.id)
    own, _ = split_moments(progress.states[client.id])
    return Answerer(client, own, progress.downloads.get(client.id), trained)


ClientStates = Mapping[int, Answerer]
"""Client number -> how it answers."""


@dataclass(frozen=True)
class Answering:
    """Some test records, answered by every client of a backbone in turn, as a Task that returns their Answers.

    clients: who answers; None for the bare backbone, whose answers carry client number 0. groups: the places (task,
    row) of the records of each batch. rounds_done: when they answer.
    """

    backbone: str
    clients: Shared[ClientStates] | None
    groups: tuple[tuple[tuple[str, int], ...], ...]
    max_new_tokens: int
    weight: float
    rounds_done: int = 0

    @property
    def label(self) -> str:
        return f"evaluation of {self.backbone}"

    def __call__(self, worker: Worker) -> list[Answer]:
        backbone = worker.backbone(self.backbone)
        record = worker.record
        assert record is not None  # workers of a run that is evaluated have one
        groups = ([record(*place) for place in group] for group in self.groups)
        models: dict[int, Callable[[], nn.Module]]
        if self.clients is None:
            adapters.activate(backbone.model)
            models = {0: lambda: backbone.model}
        else:
            models = {
                number: partial(
                    worker.answer_as, mine.client, mine.state, mine.download, self.rounds_done, mine.trained
                )
                for number, mine in self.clients.get().items()
            }
        return list(answers(backbone, models, groups, self.max_new_tokens))


class AnswerPart(NamedTuple):
    """A task, how many answers it gives and where they are stored."""

    task: Answering
    answers: int
    path: Path
