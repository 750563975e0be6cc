"""A method of one's own, FedSA-LoRA: clients share A of their LoRA adapter and keep its B."""

from drake.federation import adapters
from drake.federation.local_training import LocalOptimizer, task_loss
from drake.federation.method import Download, LocalResult, Method, Upload


class Mine(Method):
    reference = "FedSA-LoRA, Guo et al., ICLR 2025, arXiv 2410.01463"
    sends = "A of its adapter"

    def attach(self, backbone, client):
        return adapters.add(backbone.model, ["lora"], self.training)

    def initial_state(self, model, client, rng):
        return adapters.fresh(model, "lora", rng)

    def local_update(self, model, state, download, batches, rng):
        self.for_inference(model, state, download)
        trained = adapters.train_only(model, adapters.tensors(model, "lora").values())
        optimizer = LocalOptimizer([(trained, self.training.learning_rate)], self.training)
        model.train()
        losses = [optimizer.step(lambda batch: task_loss(model, batch), step) for step in batches]
        state = adapters.read(model, "lora")
        return LocalResult(state, Upload(only_a(state)), {"loss": sum(losses) / len(losses)})

    def mix(self, round, uploads, federation):
        groups = {i: [j for j in federation.peers(i) if j in uploads] for i in uploads}
        return {i: Download(adapters.mean([uploads[j].tensors for j in groups[i]])) for i in uploads}

    def sent(self, model, client):
        return only_a(adapters.tensors(model, "lora"))

    def for_inference(self, model, state, download):
        adapters.write(model, "lora", state | dict(download.tensors if download else {}))
        adapters.activate(model, "lora")


def only_a(state):
    return {name: tensor for name, tensor in state.items() if name.endswith(".A")}
