"""How the embedded tiny backbones are made, behind `drake backbones train NAME`.

    shapes.py        shapes, tokenizers, chat templates, models of random weights
    vision.py        stage 1: a CLIP tower learns to name what pictures show; then frozen, the same for all backbones
    language.py      stage 2: projector and embeddings learn to place pictures near the words for what they show
    instructions.py  fresh questions of the public forms and of the tasks, never a record of the suite
    instruct.py      stage 3: projector and language model of a medium backbone learn to answer these questions
    prune.py         a small backbone is cut from the medium one
    distil.py        stage 4: the small backbone learns to answer as the medium one does
    corpus.py        questions as token ids and frozen features
    recipe.py        all stages, from nothing to a checkpoint folder
    card.py          its model card
    schedule.py      learning rates

The same seed gives the same bits; everything runs on one thread.
"""

from drake.models.tiny.recipe import CUT_FROM, Numbers, train
from drake.models.tiny.shapes import SHAPES, Shape, new_model, new_processor, new_tokenizer

__all__ = ["CUT_FROM", "SHAPES", "Numbers", "Shape", "new_model", "new_processor", "new_tokenizer", "train"]
