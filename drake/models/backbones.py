"""The public names of frozen backbones in one place: load one, make batches with it, compute a loss on them.

    loading.py     a name or a path -> a frozen model and its processor (`load`, `outline`)
    backbone.py    the loaded model: encoded pictures, token ids, embeddings (`Backbone`, `Outline`)
    batching.py    rows of token ids -> a padded batch, and the logits of its answers (`Batch`, `answer_logits`)

The federation, the scoring, the methods and the tools import these names from here.
"""

from drake.models.backbone import Backbone, Outline
from drake.models.batching import IGNORED, Batch, answer_logits
from drake.models.loading import load, outline

__all__ = ["IGNORED", "Backbone", "Batch", "Outline", "answer_logits", "load", "outline"]
