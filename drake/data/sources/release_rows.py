"""What the rows of a release's record files say: question and answer, and the metric of a task. For `release`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from drake.data.choices import record_choices, wins
from drake.data.oracle import check_answer, check_text
from drake.data.sources.base import Split
from drake.errors import DrakeError


def place(file: str, index: int) -> str:
    """A record as errors call it."""
    return f"{file}, record {index} (counted from 0)"


def one_turn(where: str, row: Any) -> tuple[str, str]:
    """The one question and the one answer of a record; DrakeError, beginning with `where`, for anything else."""
    turns = row.get("conversations") if isinstance(row, dict) else None
    if not isinstance(turns, list):
        turns = []
    speakers = [turn.get("from") if isinstance(turn, dict) else None for turn in turns]
    if speakers != ["human", "gpt"] or not all(isinstance(turn.get("value"), str) for turn in turns):
        raise DrakeError(f"{where}: 'conversations' must be one turn from human and one from gpt, each with a text.")
    prompt, answer = turns[0]["value"], turns[1]["value"]
    for name, text in (("prompt", prompt), ("answer", answer)):
        check_text(f"{where}: its {name}", text)
    check_answer(where, answer)
    return prompt, answer


def task_metric(task: str, rows: Mapping[Split, Iterable[tuple[str, Any]]]) -> str:
    """The metric of a task that the catalog lacks, from its rows by split: "accuracy" if most prompts offer choices
    with the answer among them, otherwise "token-F1".

    rows: (place for errors, row). Raises DrakeError if the splits differ widely, since training and test would then be
    different tasks.
    """
    offered = total = 0
    shares: dict[Split, float] = {}
    for split, of_split in rows.items():
        found = count = 0
        for where, row in of_split:
            with suppress(DrakeError):  # `records` reports the same record
                prompt, answer = one_turn(where, row)
                count += 1
                found += wins(record_choices(prompt, answer), answer, prompt)
        if count:
            shares[split] = found / count
        offered, total = offered + found, total + count
    if shares and max(shares.values()) - min(shares.values()) > 0.5:
        parts = " and ".join(f"{share:.0%} of the {split} prompts" for split, share in shares.items())
        raise DrakeError(
            f"task {task}: {parts} offer choices with the answer among them, so it is unclear how to score it; "
            "correct the prompts."
        )
    return "accuracy" if 2 * offered > total else "token-F1"
