"""FedDAT: a shared and a personal adapter teach each other through a dual-adapter teacher.

    A1 shared, A0 personal, A2 = a frozen copy of the received A1;    DAT = (A0 + A2) / 2
    per batch    z_T = DAT, no gradient
                 A1 <- AdamW on (CE(z_1) + KL(z_1 || z_T)) / 2
                 A0 <- AdamW on (CE(z_DAT) + KL(z_DAT || z_1)) / 2,     z_1 that of the first step, no gradient
    server       A1_a <- mean of A1_i over the clients of backbone a
    inference    DAT, with A2 = the mean received before the round (evaluated `trained`) or after it (`aggregated`)

    KL(z || t) = tau^2 mean over answer tokens of sum_v p_t log(p_t / p_z),   p = softmax(. / tau),   tau = 2

Reference: FedDAT, Chen et al., AAAI 2024, arXiv 2308.12305. What differs from the official code: the official tau
is 3 (`feddat.preset=official`). Its budget of 43 steps for 100 of SFT assumes that a step costs 7/3 of SFT's, which
ignores that two of the passes run two adapters: measured on a backbone of 1B a step costs 2.6, or 2.4 with gradient
checkpointing. This file declares 2.5, hence 40 steps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from drake.errors import DrakeError
from drake.federation import adapters
from drake.federation.method import Client, ClientRound, Method, Steps
from drake.models.backbones import Backbone, answer_logits

from .averaging import PERSONAL, SHARED, Averaging
from .distillation import divergence, softened

RECEIVED = "received"
"""Name of the adapter A2; A1 is `SHARED`, A0 is `PERSONAL`."""


class FedDAT(Averaging):
    """See the module's docstring."""

    reference = "FedDAT, Chen et al., AAAI 2024, arXiv 2308.12305"
    sends = "A, B of its shared adapter"
    presets: ClassVar = {"official": {"temperature": 3.0}}
    relative_cost = 2.5  # three passes forward and two back, three of the five with two adapters

    @dataclass(frozen=True)
    class Options(Method.Options):
        """temperature: tau of both KL terms."""

        temperature: float = 2.0

        def __post_init__(self) -> None:
            if not self.temperature > 0:
                raise DrakeError(f"feddat.temperature is {self.temperature}; it must be more than zero.")

    def attach(self, backbone: Backbone, client: Client) -> nn.Module:
        return adapters.add(backbone.model, (*self.kept, RECEIVED), self.training)

    def receive(self, now: ClientRound) -> None:
        super().receive(now)
        copied = adapters.part(SHARED, replace(now, trained=False).received())
        if now.trained and now.download is None:  # while the client trained, the B of A1 was zero
            copied = {name: torch.zeros_like(tensor) for name, tensor in copied.items()}
        adapters.write(now.model, RECEIVED, copied)

    def train(self, now: ClientRound, batches: Steps) -> list[float]:
        model = now.model
        shared, personal = (list(adapters.tensors(model, name).values()) for name in (SHARED, PERSONAL))
        adapters.train_only(model, shared + personal)  # gradients reach the active adapters only
        rate = self.training.learning_rate
        of_shared, of_personal = (now.optimizer([(group, rate)]) for group in (shared, personal))
        losses: list[float] = []
        for step in batches:
            z_1: list[Tensor] = []  # of every micro-batch, computed before the first optimizer step
            for batch in step:
                self._activate_dat(model)
                with torch.no_grad():
                    teacher, _ = answer_logits(model, batch)
                adapters.activate(model, SHARED)
                logits, targets = answer_logits(model, batch)
                (self._loss(logits, targets, teacher) / len(step)).backward()
                z_1.append(logits.detach())
            of_shared.apply()
            self._activate_dat(model)
            pairs = list(zip(step, z_1, strict=True))
            losses.append(of_personal.step(lambda pair: self._loss(*answer_logits(model, pair[0]), pair[1]), pairs))
        return losses

    def for_inference(self, now: ClientRound) -> None:
        self.receive(now)
        self._activate_dat(now.model)

    def _loss(self, logits: Tensor, targets: Tensor, teacher: Tensor) -> Tensor:
        """(CE(z) + KL(z || z_T)) / 2."""
        tau = self.options.temperature
        return (F.cross_entropy(logits.float(), targets) + divergence(logits, softened(teacher, tau), tau)) / 2

    @staticmethod
    def _activate_dat(model: nn.Module) -> None:
        adapters.activate(model, PERSONAL, RECEIVED, share=0.5)
