"""How the embedded tiny backbones are made: `drake backbones train NAME` calls this, and nothing else does.

    tiny.py      shapes, tokenizers, chat templates, random models
    vision.py    stage 1: a CLIP tower that names what pictures show; frozen, the same for all backbones
    language.py  stage 2: projector and language model answer the public split, lesson by lesson
    corpus.py    the public split as token ids and frozen features

Only the public split's question forms are used, drawn anew from the same worlds; the vision tower learns from the
answers to its naming questions. No task's question is ever seen, only the words that tasks answer with. One seed and
one thread give the same bits.
"""

from drake.models.tiny.recipe import train
from drake.models.tiny.shapes import SHAPES, Shape, new_model, new_processor, new_tokenizer

__all__ = ["SHAPES", "Shape", "new_model", "new_processor", "new_tokenizer", "train"]
