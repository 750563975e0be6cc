"""Forged submissions: each is refused with a sentence or pointed out, whatever was signed again afterwards.

Here traffic and backbones, in a bundled submission whose backbones are in the catalog.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from drake_leaderboard import costs, ranking, settings
from drake_leaderboard.claims import Claims
from forging import Json

from drake.data.benchmark import Benchmark
from drake.results import Results, load, run_folders
from drake.results.dataset import dataset_of


@pytest.fixture(scope="module")
def ditto() -> tuple[Results, Benchmark]:
    folder = next(path for path in run_folders(ranking.default_paths()[:1]) if path.name == "mini-ditto")
    results = load(folder)
    return results, dataset_of(results)


def traffic(change: Callable[[list[Json]], Any]) -> Callable[[Results], Results]:
    def changed(results: Results) -> Results:
        content = results.model_dump(mode="json")
        change(content["runs"][0]["traffic"])
        return Results.model_validate(content)

    return changed


COSTS: dict[str, tuple[Callable[[Results], Results], str]] = {
    "nothing sent": (traffic(lambda rows: rows.clear()), "nothing, but the method sends"),
    "no bytes": (traffic(lambda rows: [row.update(bytes=0) for row in rows]), "0 B of A"),
    "half of the bytes": (traffic(lambda rows: [r.update(bytes=r["bytes"] // 2) for r in rows]), "but the method"),
    "one message less": (traffic(lambda rows: rows.pop()), "but the method sends"),
    "one message twice": (traffic(lambda rows: rows.append(rows[0])), "but the method sends"),
    "another kind": (traffic(lambda rows: rows[0].update(kind="magic")), "but the method sends"),
    "a kind besides": (traffic(lambda rows: rows.append(rows[0] | {"kind": "magic"})), "does not send"),
    "a round too many": (traffic(lambda rows: rows.append(rows[0] | {"round": 99})), "does not exist"),
    "a client too many": (traffic(lambda rows: rows.append(rows[0] | {"client": 99})), "does not exist"),
    "sent before the first round": (traffic(lambda rows: rows.append(rows[0] | {"round": 0})), "does not send"),
}  # fmt: skip


@pytest.mark.parametrize("name", COSTS)
def test_costs_follow_from_method_and_architectures(ditto: tuple[Results, Benchmark], name: str) -> None:
    results, benchmark = ditto
    change, sentence = COSTS[name]
    assert list(costs.contradictions(Claims(results, benchmark))) == []
    (found,) = costs.contradictions(Claims(change(results), benchmark))
    assert sentence in found


def test_what_embedded_backbones_and_assignments_are_is_known(ditto: tuple[Results, Benchmark]) -> None:
    results, benchmark = ditto
    content = results.model_dump(mode="json")
    for place in (content["models"], content["config"]):
        place["revisions"] = place["revisions"] | {"tiny-llama-s": "0" * 64}
    order = content["models"]["per_client"][::-1]
    content["models"]["per_client"] = content["config"]["assignment"] = order
    content["models"]["assignment"] = "even:mine"
    for client, model in zip(content["clients"], order, strict=True):
        client["model"] = model
    found = list(settings.contradictions(Claims(Results.model_validate(content), benchmark)))
    assert any("another revision of tiny-llama-s" in sentence for sentence in found)
    assert any("models.per_client is" in sentence for sentence in found)
    assert any("models.assignment is 'even:mine'" in sentence for sentence in found)
