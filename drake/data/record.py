"""A sample as the builders hand it on: what a mini world, the official release and a raw source all become.

Every room may read it; only `drake.data.building` makes it. Field by field it is a row of a built dataset.
"""

from typing import NamedTuple


class Record(NamedTuple):
    """One sample.

    id: "<task>/<split>/<six digits>", e.g. "NLVR2-0/train/000017"; for public ones "public/NLVR2/000017".
    task: a task id of the catalog, or "public".
    source: the source dataset's id in the catalog.
    category: the task's skill; "" where the catalog names none, "public" in the public split.
    images: encoded PNG or JPEG, byte for byte as in the source, in the order of the prompt's "<image>".
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
