"""What `drake export` writes answers like the client it came from, in stock PEFT and stock transformers."""

import io
import json
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from drake_baselines.sft import ADAPTER, SFT
from peft import PeftModel
from PIL import Image
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from drake.config import configure
from drake.data.benchmark import load as load_data
from drake.engines.serial import Serial
from drake.errors import DrakeError
from drake.federation import adapters
from drake.federation.callbacks import RunContext
from drake.federation.checkpoint import CheckpointCallback, Checkpoints
from drake.federation.loop import run_rounds
from drake.federation.method import Download
from drake.models.checkpoints import WEIGHTS_FOLDER
from drake.models.templates import DATE
from drake.runs import Setup
from drake.runs.folder import checkpoint_folder, claim
from drake.scoring.generation import generate
from drake.tools.export import _with_biases, export

LLAMA, QWEN = 0, 1
"""The number of a client that holds a backbone of the family."""


@dataclass
class Run:
    """A run folder after one round, and the harness's own view of it."""

    folder: Path
    setup: Setup
    records: list

    def client(self, number: int):
        """(backbone, model answering as the client)"""
        worker = self.setup.worker(5)
        client = self.setup.clients[number]
        model = worker.answer_as(client, *Checkpoints(checkpoint_folder(self.folder, 5)).of_client(number))
        return worker.backbone(client.backbone), model.eval()


def one_round(folder: Path, micro_data, models, method="fedmosaic", options=None, **numbers) -> Run:
    numbers |= {"steps": 1, "micro_batch": 1, "rounds": 1, "seeds": [5], "device": "cpu", method: options or {}}
    numbers |= {"clients": 4}
    setup = Setup(configure(method, "quick", models=models, data=micro_data, **numbers))
    claim(folder, setup.identity(), "never")
    worker = setup.worker(5)
    keep = CheckpointCallback(Checkpoints(checkpoint_folder(folder, 5)))
    run_rounds(Serial(worker), RunContext(worker.federation, worker.method), [keep])
    data = load_data(micro_data)
    # One picture, two and several; a choice and an open answer.
    records = [data.records(task, "test")[0] for task in ("VSR-0", "NLVR2-0", "Co-Instruct-DB-0", "dvqa-0")]
    return Run(folder, setup, records)


@pytest.fixture(scope="module")
def mosaic(micro_data, tmp_path_factory) -> Run:
    """FedMosaic on two families, with values in P, Q and gates that no short training would reach."""
    models = ("tiny-llama-s", "tiny-qwen-s")
    run = one_round(
        tmp_path_factory.mktemp("run") / "mosaic", micro_data, models, options={"align": "false", "gate": "scalar"}
    )
    rng = torch.Generator().manual_seed(0)

    def strong(tensors):
        def value(name, tensor):
            scale = {"P": 0.05, "Q": 0.1, "B": 0.02}.get(name[-1], 1.0 if name.startswith("gate") else None)
            return tensor if scale is None else scale * torch.randn(tensor.shape, generator=rng)

        return {name: value(name, tensor) for name, tensor in tensors.items()}

    checkpoints = Checkpoints(checkpoint_folder(run.folder, 5))
    results, _ = checkpoints.clients(0)
    progress = checkpoints.load()
    for number, result in results.items():
        stronger = type(result)(strong(result.state), None, {})
        checkpoints.keep_client(0, number, stronger, progress.uploads[number], 0.0)
        progress.downloads[number] = Download(strong(progress.downloads[number].tensors))
    checkpoints.keep_round(progress)
    return run


def stock(folder: Path, base: str | None) -> torch.nn.Module:
    """The export as somebody without drake opens it; base: the backbone of an adapter."""
    if base is None:
        return LlavaForConditionalGeneration.from_pretrained(folder).eval()
    return PeftModel.from_pretrained(LlavaForConditionalGeneration.from_pretrained(base), folder).eval()


def pictures(records) -> list:
    return [Image.open(io.BytesIO(image["bytes"])).convert("RGB") for r in records for image in r["images"]]


@torch.no_grad()
def assert_same_answers(run: Run, number: int, exported: torch.nn.Module, processor) -> None:
    """Logits of every real token to 1e-4, and generated answers from the chat on, drake's code left out."""
    backbone, model = run.client(number)
    batch = backbone.batch(run.records, answers=True)
    pixels = processor.image_processor(pictures(run.records), return_tensors="pt")["pixel_values"]
    real = batch.inputs["attention_mask"].bool()
    expected = model(inputs_embeds=batch.inputs["inputs_embeds"], attention_mask=batch.inputs["attention_mask"]).logits
    found = exported(input_ids=batch.input_ids, pixel_values=pixels, attention_mask=real.long()).logits
    torch.testing.assert_close(found[real], expected[real], atol=1e-4, rtol=0)
    adapters.activate(model)
    bare = model(inputs_embeds=batch.inputs["inputs_embeds"]).logits
    assert (bare - expected)[real].abs().max() > 0.1  # or there would be nothing to export

    _, model = run.client(number)
    asked = backbone.batch(run.records, answers=False)
    answers = [backbone.decode(row) for row in generate(model, asked, backbone.stop_ids, 8)]
    for record, answer in zip(run.records, answers, strict=True):
        text = processor.apply_chat_template(
            backbone.chat.messages(record), add_generation_prompt=True, date_string=DATE
        )
        inputs = processor(images=pictures([record]), text=text, return_tensors="pt", add_special_tokens=False)
        written = exported.generate(**inputs, max_new_tokens=8, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        assert processor.decode(written, skip_special_tokens=True).strip() == answer


@pytest.mark.parametrize("number", [LLAMA, QWEN])
def test_a_peft_adapter_answers_like_the_client(mosaic, tmp_path, number):
    base = export(mosaic.folder, number, tmp_path / "adapter", seed=5)
    assert Path(base) == WEIGHTS_FOLDER / mosaic.setup.clients[number].backbone
    assert sorted(path.name for path in (tmp_path / "adapter").iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert len({path.stat().st_mode for path in (tmp_path / "adapter").iterdir()}) == 1  # all may be read by others
    config = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["lora_bias"]) == (16, 16, True)  # local and global, rank 8 each
    processor = LlavaProcessor.from_pretrained(base)
    assert_same_answers(mosaic, number, stock(tmp_path / "adapter", base), processor)


@pytest.mark.parametrize("number", [LLAMA, QWEN])
def test_a_merged_checkpoint_answers_like_the_client(mosaic, tmp_path, number):
    export(mosaic.folder, number, tmp_path / "whole", merge=True)
    whole = stock(tmp_path / "whole", None)
    text = whole.config.text_config
    assert (text.model_type, text.attention_bias, text.mlp_bias) == ("llama", True, True)
    assert whole.lm_head.weight is whole.model.language_model.embed_tokens.weight
    assert_same_answers(mosaic, number, whole, LlavaProcessor.from_pretrained(tmp_path / "whole"))
    shutil.copytree(tmp_path / "whole", tmp_path / "again")  # a backbone like any other
    assert (
        Setup(configure("sft", "quick", models=[tmp_path / "again"], data=mosaic.setup.config.data.path))
        .architectures[str(tmp_path / "again")]
        .num_layers
        == text.num_hidden_layers
    )


def test_without_a_shift_the_architecture_stays(micro_data, tmp_path):
    run = one_round(tmp_path / "run", micro_data, ("tiny-qwen-s",), "sft", learning_rate=0.3)
    export(run.folder, 3, tmp_path / "whole", merge=True)
    whole = stock(tmp_path / "whole", None)
    assert whole.config.text_config.model_type == "qwen2"
    assert_same_answers(run, 3, whole, LlavaProcessor.from_pretrained(tmp_path / "whole"))
    export(run.folder, 3, tmp_path / "adapter")
    assert not json.loads((tmp_path / "adapter/adapter_config.json").read_text())["lora_bias"]


def test_a_bfloat16_run_is_merged_in_float32_and_stored_in_bfloat16(mosaic, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(mosaic.folder, folder)
    config = json.loads((folder / "identity.json").read_text())
    (folder / "identity.json").write_text(json.dumps(config | {"dtype": "bfloat16"}))
    export(folder, LLAMA, tmp_path / "half", merge=True)
    export(mosaic.folder, LLAMA, tmp_path / "whole", merge=True)
    half = LlavaForConditionalGeneration.from_pretrained(tmp_path / "half").state_dict()
    whole = LlavaForConditionalGeneration.from_pretrained(tmp_path / "whole").state_dict()
    assert {tensor.dtype for tensor in half.values()} == {torch.bfloat16}
    for name, tensor in whole.items():  # twice rounded at most: the base, then the sum
        torch.testing.assert_close(half[name].float(), tensor, atol=2**-9, rtol=2**-7)


class Short(adapters.AdaptedLinear):
    """Only half the rank on the layers that narrow the MLP."""

    def factors(self):
        down, up, shift = super().factors()
        return (down[:4], up[:, :4], shift) if self.in_features > self.out_features else (down, up, shift)


class Gated(adapters.AdaptedLinear):
    """Adapters that look at what they are given."""

    def forward(self, x):
        return super().forward(x) * x.mean().sigmoid()


class Uneven(SFT):
    layer = Short

    def attach(self, backbone, client):
        adapters.add(backbone.model, [ADAPTER], self.training, self.layer)
        adapters.activate(backbone.model, ADAPTER)
        return backbone.model


class Conditional(Uneven):
    layer = Gated


class Wrapped(Uneven):
    def attach(self, backbone, client):
        self.inner = super().attach(backbone, client)
        return torch.nn.Sequential(self.inner)

    def initial_state(self, now):
        return super().initial_state(replace(now, model=self.inner))

    def local_update(self, now, batches):
        return super().local_update(replace(now, model=self.inner), batches)

    def for_inference(self, now):
        super().for_inference(replace(now, model=self.inner))


def test_layers_of_different_rank_get_a_rank_pattern(micro_data, tmp_path):
    run = one_round(tmp_path / "run", micro_data, ("tiny-llama-s",), f"{__name__}:Uneven", learning_rate=0.3)
    base = export(run.folder, 0, tmp_path / "adapter", method=f"{__name__}:Uneven")
    config = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    assert config["r"] == 8
    assert set(config["rank_pattern"].values()) == set(config["alpha_pattern"].values()) == {4}
    assert_same_answers(run, 0, stock(tmp_path / "adapter", base), LlavaProcessor.from_pretrained(base))


@pytest.mark.parametrize(
    ("method", "options", "why"),
    [
        (f"{__name__}:Conditional", {}, "Gated is no sum of fixed factors"),
        (f"{__name__}:Wrapped", {}, "more"),
        ("fedmosaic", {"gate": "input", "align": "false"}, "no sum of fixed factors"),
    ],
)
def test_a_method_that_is_no_sum_of_factors_is_refused(micro_data, tmp_path, method, options, why):
    run = one_round(tmp_path / "run", micro_data, ("tiny-llama-s",), method, options)
    with pytest.raises(DrakeError, match=f"{method} cannot be written as LoRA .*{why}"):
        export(run.folder, 0, tmp_path / "out", method=method)
    assert not (tmp_path / "out").exists()


def test_wrong_requests_are_refused_and_leave_nothing(mosaic, tmp_path):
    out, full = tmp_path / "out", tmp_path / "full"
    full.mkdir()
    (full / "thesis.tex").write_text("years of work")
    empty = tmp_path / "begun"
    empty.mkdir()
    shutil.copy(mosaic.folder / "identity.json", empty)
    cases = [
        ((tmp_path / "nowhere", 0, out), "holds no run of `drake eval`"),
        ((mosaic.folder, 4, out), "has no client 4; its clients are 0 to 3"),
        ((mosaic.folder, -1, out), "has no client -1"),
        ((mosaic.folder, 0, out, 1), "has no seed 1; it has 5"),
        ((mosaic.folder, 0, full), "is there already"),
        ((empty, 0, out), "keeps no state of client 0 with seed 5"),
    ]
    for arguments, sentence in cases:
        with pytest.raises(DrakeError, match=re.escape(sentence)):
            export(*arguments)
    assert not out.exists()
    assert [path.name for path in full.iterdir()] == ["thesis.tex"]


def test_other_weights_than_the_runs_are_refused(mosaic, tmp_path):
    shutil.copytree(mosaic.folder, tmp_path / "run")
    config = json.loads((tmp_path / "run/identity.json").read_text())
    config["revisions"]["tiny-llama-s"] = "0" * 64
    (tmp_path / "run/identity.json").write_text(json.dumps(config))
    with pytest.raises(DrakeError, match="tiny-llama-s has other files than those the run was made with"):
        export(tmp_path / "run", LLAMA, tmp_path / "out")


def test_architectures_without_a_place_for_biases_say_so():
    from transformers import Qwen2Config, Qwen3Config

    with pytest.raises(DrakeError, match="mine is a qwen3, which has no place for the biases"):
        _with_biases(Qwen3Config(), "mine")
    sliding = Qwen2Config(num_hidden_layers=2, use_sliding_window=True, sliding_window=64, max_window_layers=1)
    with pytest.raises(DrakeError, match="qwen2 with a sliding window"):
        _with_biases(sliding, "mine")


def test_a_qwen2_becomes_a_llama_of_the_same_numbers():
    from transformers import Qwen2Config

    rope = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 5e5, "original_max_position_embeddings": 1024}
    qwen = Qwen2Config(
        hidden_size=896, num_attention_heads=14, num_key_value_heads=2, rms_norm_eps=1e-5, rope_parameters=rope
    )
    llama = _with_biases(qwen, "mine")
    for field in ("hidden_size", "num_key_value_heads", "rms_norm_eps", "vocab_size", "rope_parameters", "hidden_act"):
        assert getattr(llama, field) == getattr(qwen, field), field
    assert llama.head_dim == 64
