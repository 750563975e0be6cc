"""The published results are what the paper and its listing say."""

import json
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PUBLISHED = tomllib.loads((ROOT / "leaderboard/drake_leaderboard/published.toml").read_text(encoding="utf-8"))
FACTS = ROOT / "tests" / "facts" / "published_results.json"


def test_scores_are_percent_and_fedmosaic_leads_every_table():
    assert PUBLISHED["unit"] == "percent"
    for table in PUBLISHED["table"]:
        rows = {row["method"]: (row["self"], row["others"]) for row in table["row"]}
        assert len(rows) == len(table["row"])
        assert all(1 < score < 100 for scores in rows.values() for score in scores)
        assert rows["FedMosaic"] == (max(own for own, _ in rows.values()), max(other for _, other in rows.values()))


def test_every_published_number_is_there():
    facts = json.loads(FACTS.read_text())
    tables = {table["title"]: table["row"] for table in PUBLISHED["table"]}
    assert {
        title: {row["method"]: [row["self"], row["others"]] for row in rows} for title, rows in tables.items()
    } == facts["a_last"]
    errors = {
        title: {
            row["method"]: [row["self_standard_error"], row["others_standard_error"]]
            for row in rows
            if "self_standard_error" in row
        }
        for title, rows in tables.items()
    }
    assert {title: found for title, found in errors.items() if found} == facts["standard_errors"]
    assert {row["setting"]: row["score"] for row in PUBLISHED["listing"]} == facts["fedmosaic_listing"]
    assert {row["sent"]: row["rouge_l"] for row in PUBLISHED["privacy"]} == facts["privacy_rouge_l"]
    assert str(PUBLISHED["communication"]["saved_percent"]) in facts["communication"]
