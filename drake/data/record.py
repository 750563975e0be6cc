"""A sample as sources hand it to the builder: what a mini world, the official release and a user's own data become.

Field by field it is a row of a built dataset. Anybody may read it.
"""

from typing import NamedTuple

PUBLIC = "public"
"""Task, category and split of public records, which belong to no client."""


class Record(NamedTuple):
    """One sample.

    id: "<task>/<split>/<six digits>", e.g. "NLVR2-0/train/000017"; of public ones "public/NLVR2/000017".
    task: a task id, or "public".
    source: the id of the source data set.
    category: the task's skill; "" where none is known, "public" in the public split.
    images: encoded pictures, byte for byte as in the source, in the order of the prompt's "<image>".
    prompt: the question, with one "<image>" per picture.
    choices: the answers to choose from; empty when open-ended.
    answer: the gold answer.
    metric: "accuracy" or "token-F1".
    """

    id: str
    task: str
    source: str
    category: str
    images: tuple[bytes, ...]
    prompt: str
    choices: tuple[str, ...]
    answer: str
    metric: str
