"""WorldCuisines: what is this dish called, and where is it from?

    WCVQA/train_task1/en_*.jsonl, train_task2/en_*.jsonl, small_eval_task1/en_*.jsonl, small_eval_task2/en_*.jsonl
        {lang, food_id, prompt_type, multi_choice_prompt, multi_choice_answer 1 to 5, answer, image_url, ...}
    WCVQA/images/NAME        the last part of image_url, decoded and without "?download"

The questions are those of the files. English ones are read; other languages are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import ClassVar
from urllib.parse import unquote, urlsplit

from drake.data.sources.raw.dataset import Draft, Entry, RawDataset, Size, one_of, text_of
from drake.data.sources.tables import Row
from drake.errors import DrakeError

IDS = ("1", "2", "3", "4", "5")
TASKS = {"1": "WCVQA-0", "3": "WCVQA-1", "4": "WCVQA-2", "2": "WCVQA-3"}
"""Task by prompt type: none, context, adversarial context; location."""


class WorldCuisines(RawDataset):
    """Four tasks by the type of the prompt."""

    name = "WCVQA"
    licence = "CC-BY-SA-4.0 (data); every picture its own Wikimedia licence"
    sizes: ClassVar = {
        "WCVQA-0": Size(5000, 1000),
        "WCVQA-1": Size(7000, 1000),
        "WCVQA-2": Size(8000, 1000),
        "WCVQA-3": Size(5000, 1000),
    }
    files: ClassVar = {
        "train": ("train_task1/en_*.jsonl", "train_task2/en_*.jsonl"),
        "test": ("small_eval_task1/en_*.jsonl", "small_eval_task2/en_*.jsonl"),
    }

    def entry(self, row: Row) -> Entry | None:
        """Groups: the dish and the picture, which several dishes may share."""
        if text_of(row, "lang").partition("_")[0] != "en":
            return None
        task = one_of(row, "prompt_type", TASKS)
        answer = one_of(row, "multi_choice_answer", {name: name for name in IDS})
        prompt, address = text_of(row, "multi_choice_prompt"), text_of(row, "image_url")
        if f"\n{answer}. {text_of(row, 'answer')}" not in prompt:
            raise DrakeError(f"{row.where}: choice {answer} of its prompt is not its answer {row.values['answer']!r}.")
        name = unquote(urlsplit(address).path.rpartition("/")[2])
        values = {"prompt": prompt, "answer": answer, "picture": (f"images/{name}",)}
        return Entry(row.where, values, (f"food {text_of(row, 'food_id')}", address), task)

    def drafts(self, task: str, entries: Sequence[Entry], pool: Sequence[Entry], rng: Random) -> Iterator[Draft]:
        """One record for each prompt."""
        for entry in entries:
            prompt = f"<image>\n{entry.values['prompt']}"
            yield Draft(entry.where, prompt, (entry.values["picture"],), IDS, entry.values["answer"])
