"""A method of one's own, FedSA-LoRA: clients share A of their LoRA adapter and keep its B."""

from drake.federation import adapters, tensor_names
from drake.federation.local_training import task_loss
from drake.federation.method import Download, LocalResult, Method, Upload


class Mine(Method):
    reference = "FedSA-LoRA, Guo et al., ICLR 2025, arXiv 2410.01463"
    sends = "A of its adapter"

    def attach(self, backbone, client):
        return adapters.add(backbone.model, ["lora"], self.training)

    def initial_state(self, now):
        return adapters.fresh(now.model, "lora", now.generator)

    def local_update(self, now, batches):
        self.for_inference(now)
        trained = adapters.train_only(now.model, adapters.tensors(now.model, "lora").values())
        optimizer = now.optimizer([(trained, now.training.learning_rate)])
        now.model.train()
        losses = [optimizer.step(lambda batch: task_loss(now.model, batch), step) for step in batches]
        state = adapters.read(now.model, "lora")
        return LocalResult(state, Upload(only_a(state)), {"loss": sum(losses) / len(losses)})

    def aggregate(self, round, uploads, federation):
        groups = {i: [j for j in federation.peers(i) if j in uploads] for i in uploads}
        return {i: Download(adapters.mean([uploads[j].tensors for j in groups[i]])) for i in uploads}

    def sent(self, now):
        return only_a(adapters.tensors(now.model, "lora"))

    def for_inference(self, now):
        adapters.write(now.model, "lora", now.received())
        adapters.activate(now.model, "lora")


def only_a(state):
    return {name: tensor for name, tensor in state.items() if tensor_names.role(name) == "A"}
