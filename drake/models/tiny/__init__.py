"""Pretraining of the embedded tiny backbones, behind `drake backbones train NAME`.

    shapes.py    shapes, tokenizers, chat templates, models of random weights
    vision.py    stage 1: a CLIP tower learns to name what pictures show; then frozen, the same for all backbones
    corpus.py    the public split as token ids and frozen features
    language.py  stage 2: projector and language model learn to answer the public split, lesson by lesson
    recipe.py    both stages, from nothing to a checkpoint folder
    schedule.py  learning rates

Training data are new draws of the public split's question forms from the same worlds; the vision tower learns from the
answers to the naming questions. No question of a task is ever used, only the words that tasks have as answers. The
same seed gives the same bits; everything runs on one thread.
"""

from drake.models.tiny.recipe import train
from drake.models.tiny.shapes import SHAPES, Shape, new_model, new_processor, new_tokenizer

__all__ = ["SHAPES", "Shape", "new_model", "new_processor", "new_tokenizer", "train"]
