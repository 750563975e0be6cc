"""Backbones without eyes: a folder or repository with a Llama or Qwen language model alone, as `AutoModelForCausalLM`
saves it. `drake.models.loading` asks here first.

The language model is put in the place that it has in a LLaVA, with nothing where vision tower and projector would be.
So adapters, layers and messages have the names that they have everywhere, every method works, and a client with a
LLaVA and one with the text model that it was made of can exchange what they learn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from drake import catalog
from drake.config.schema import Prompts
from drake.data.record import DatasetRow
from drake.errors import DrakeError
from drake.models import checkpoint_files, checkpoints, soundness
from drake.models.backbone import Backbone
from drake.models.batching import Batch
from drake.models.prompts import PLACEHOLDER
from drake.models.stored_weights import read_model

NO_TOKEN = -1
"""The id of the picture token of a tokenizer that has none; no text has it."""


class TextBackbone(Backbone):
    """A backbone that reads text alone; DrakeError for a record with pictures."""

    reads_pictures = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if PLACEHOLDER not in self.tokenizer.get_vocab():
            self.chat.image_token_id = NO_TOKEN

    def batch(self, records: Sequence[DatasetRow], *, answers: bool) -> Batch:
        """`Backbone.batch`, of records without pictures."""
        for record in records:
            if record["images"]:
                raise DrakeError(f"record {record['id']!r} has pictures, and {self.name} reads text alone.")
        return super().batch(records, answers=answers)


def load(
    name: str,
    folder: Path,
    commit: str | None,
    *,
    device: str | torch.device,
    dtype: torch.dtype,
    prompts: Prompts,
    prepare: Callable[[LlavaForConditionalGeneration], None],
) -> TextBackbone:
    """The text-only backbone in `folder`. commit: of the hub, if it came from there. prepare: is given the model on its
    device. Raises DrakeError for a checkpoint that is damaged, incomplete or does not fit together."""
    family = checkpoint_files.check_text_checkpoint(folder)
    processor = _processor(folder, name, family, prompts)
    model = _seated(read_model(AutoModelForCausalLM, folder, name, dtype))
    rows = len(cast(nn.Embedding, model.get_input_embeddings()).weight)
    soundness.check_vocabulary(name, processor.tokenizer, rows, but={PLACEHOLDER})
    cast(nn.Module, model).to(device)
    prepare(model)
    backbone = TextBackbone(
        name=name,
        family=family,
        revision=commit or checkpoint_files.revision(folder),
        model=model,
        processor=cast(LlavaProcessor, processor),
        device=torch.device(device),
        dtype=dtype,
    )
    soundness.check_finite(name, model)
    return backbone


def read_tokenizer(folder: Path) -> Any:
    """The tokenizer in a folder: tokenizer.json as it stands, where there is one. `AutoTokenizer` takes the class that
    goes with the language model, and Qwen's cuts texts in its own way whatever tokenizer.json says."""
    kind: Any = PreTrainedTokenizerFast if (folder / "tokenizer.json").is_file() else AutoTokenizer
    return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _processor(folder: Path, name: str, family: checkpoint_files.Family, prompts: Prompts) -> SimpleNamespace:
    """The tokenizer with what `Chat` asks of a processor."""
    try:
        tokenizer = read_tokenizer(folder)
    except Exception as error:  # damaged files fail in tokenizers, json, transformers, each with errors of its own
        raise DrakeError(
            f"the tokenizer of {name} cannot be read ({soundness.reason(error)}); restore its files."
        ) from error
    template = None
    if prompts == "official":
        of_family = (model.prompt for model in catalog.models().values() if model.family == family and model.prompt)
        template = catalog.official_prompts()[next(of_family)]
        soundness.check_official(name, template, tokenizer)
    return SimpleNamespace(tokenizer=tokenizer, image_token=PLACEHOLDER, chat_template=template, image_processor=None)


def _seated(text: Any) -> LlavaForConditionalGeneration:
    """A LLaVA whose language model is `text` and that has neither vision tower nor projector."""
    with torch.device("meta"):
        model = LlavaForConditionalGeneration(checkpoints.with_placeholder(text.config))
    inner: Any = model.model
    inner.vision_tower = inner.multi_modal_projector = None
    inner.language_model, model.lm_head = text.model, text.lm_head
    model.generation_config = text.generation_config
    return model
