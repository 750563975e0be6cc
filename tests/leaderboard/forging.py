"""Changes of an honest submission, and the ticket made anew afterwards, as a forger does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from drake_leaderboard import tickets, validation

from drake.scoring.predictions import Prediction, prediction_path, read_predictions, write_predictions

Fabricate = Callable[..., Path]
Json = dict[str, Any]


def sign(folder: Path, **changes: Any) -> None:
    """Make the ticket of changed files, as a forger does."""
    ticket = json.loads((folder / "submission.json").read_text())
    results = json.loads((folder / "results.json").read_text())
    ticket |= {"method": results["method"]["name"], "reference": results["method"]["reference"]}
    ticket |= {"preset": results["preset"], "seeds": [run["seed"] for run in results["runs"]]}
    ticket |= {"finished": results["finished"], "split": results["data"]["split"]}
    ticket["sha256"] = {name: tickets.sha256(folder / name) for name in ticket["sha256"] if (folder / name).exists()}
    (folder / "submission.json").write_text(json.dumps(ticket | changes))


def falsify(folder: Path, change: Callable[[Json], Any]) -> None:
    path = folder / "results.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    sign(folder)


def put(*path: Any) -> Callable[[Json], None]:
    """Set the value at a path of keys, the last argument, in results.json."""
    *keys, last, value = path

    def change(content: Any) -> None:
        for key in keys:
            content = content[key]
        content[last] = value

    return change


def both(config: str, *path: Any) -> Callable[[Json], None]:
    """The same value in config and at the place of results.json that repeats it."""
    value = path[-1]

    def change(content: Json) -> None:
        put("config", config, value)(content)
        put(*path)(content)

    return change


def refusals(folder: Path, change: Callable[[Json], Any]) -> list[str]:
    """What is refused of the results after the change; they are checked to the end."""
    falsify(folder, change)
    found = validation.validate(folder).refused
    assert not any("cannot be checked" in refusal for refusal in found)
    return found


def first(**changes: Any) -> Callable[[list[Prediction]], list[Prediction]]:
    return lambda rows: [rows[0]._replace(**changes), *rows[1:]]


def change_rows(
    folder: Path, point: int, change: Callable[[list[Prediction]], Any], seeds: tuple[int, ...] = (0,)
) -> None:
    for seed in seeds:
        path = prediction_path(folder, seed, point)
        write_predictions(path, change(read_predictions(path)))
    sign(folder)
