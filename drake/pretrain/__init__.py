"""How the embedded tiny backbones are made: `drake backbones train NAME` calls this, and nothing else does.

    tiny.py          shapes, tokenizers, chat templates, random models
    vision.py        stage 1: a CLIP tower that names what pictures show; frozen, the same for all backbones
    language.py      stage 2: pictures lie near the words for what they show
    instructions.py  fresh questions of public forms and tasks, never a record of the suite
    instruct.py      stage 3: projector and language model of a medium backbone learn to answer them
    prune.py         a small backbone is cut from the medium one
    distil.py        stage 4: and learns to answer as that one does
    corpus.py        questions as token ids and frozen features
    recipe.py        all of it in order; card.py writes the README of what is made

docs/backbones.md tells why. One seed and one thread give the same bits.
"""

from .recipe import CUT_FROM, Numbers, train
from .tiny import SHAPES, Shape, new_model, new_processor, new_tokenizer

__all__ = ["CUT_FROM", "SHAPES", "Numbers", "Shape", "new_model", "new_processor", "new_tokenizer", "train"]
