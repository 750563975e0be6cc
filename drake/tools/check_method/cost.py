"""The check of equal compute: what a method's local step costs against what it declares."""

from __future__ import annotations

from drake.engines.tasks import Job, perform
from drake.engines.worker import Worker
from drake.federation import adapters
from drake.federation.flops import count_flops
from drake.federation.local_training import task_loss
from drake.models.backbones import Batch
from drake.tools.check_method.trial import Trial

COST_TOLERANCE = 0.1
"""How far a declared cost may be from the measured one: the rule of equal compute."""


def cost(trial: Trial) -> str | None:
    """Equal compute: floating point operations of a local step, in units of an SFT step, in a round that has a download
    to begin with."""
    worker, plain = (trial.worker(steps=trial.size.costed_steps, own_public=True) for _ in range(2))
    client = worker.federation.clients[0]
    batches: dict[Worker, list[Batch]] = {}
    for one in (worker, plain):  # so that pictures are encoded by now
        batches[one] = [one.backbone(client.backbone).batch(step[0], answers=True) for step in one.plan(0, 0)]
    worker.model(client)
    model = adapters.add(plain.backbone(client.backbone).model, ["plain"], trial.training)
    adapters.activate(model, "plain")
    adapters.train_only(model, adapters.tensors(model, "plain").values())
    for of in (worker.backbone(client.backbone).model, model):
        adapters.fold_up_to(of, 0)  # as on backbones of a real size
    before = trial.run(worker, rounds=1)
    job = Job(client, 0, before.results[0][0].state, before.downloads[0].get(0))
    spent = count_flops(lambda: perform(job, worker))
    unit = count_flops(lambda: [task_loss(model, batch).backward() for batch in batches[plain]])
    found, declared = spent / unit, trial.method_class.relative_cost
    if abs(found / declared - 1) > COST_TOLERANCE:
        return f"a step costs {found:.2f} times one of SFT here, but relative_cost is {declared:.2f}."
    return None
