"""Names that users and other packages rely on: their place and their arguments do not change without a new version."""

import inspect
from importlib import import_module

import pytest

NAMES = {
    "drake_methods.colora.co_lora_layers": "num_layers num_blocks",
    "drake_methods.rela.task_relevance": "gradients",
    "drake_methods.rela.mixing_weights": "relevance temperature",
    "drake_methods.fedmosaic.customise": "client uploads architectures relevance temperature num_blocks",
    "drake_methods.alignment.row_orthonormal": "a",
    "drake_methods.alignment.align_b": "small_outputs large_outputs small_b ridge",
    "drake.data.schedules.round_slices": "task_sizes rounds_per_task",
    "drake.scoring.answers.parse_choices": "prompt gold",
    "drake.scoring.answers.match_choice": "answer choices",
    "drake.scoring.metrics.official_f1": "pairs",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_others_rely_on_is_where_it_was(name):
    module, _, function = name.rpartition(".")
    found = inspect.signature(getattr(import_module(module), function))
    assert " ".join(found.parameters) == NAMES[name]
