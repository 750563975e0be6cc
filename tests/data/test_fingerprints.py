"""Results of older versions are compared by the fingerprint that their data have today."""

import json
from pathlib import Path

from drake.data.fingerprints import CURRENT, current_fingerprint

SUBMISSIONS = Path(__file__).parents[2] / "leaderboard/drake_leaderboard/submissions"


def test_stored_submissions_stand_beside_runs_of_today():
    found = {json.loads(path.read_text())["data"]["fingerprint"] for path in SUBMISSIONS.glob("*/results.json")}
    assert found
    # What a build of the preset's suite gives today: seed 0, 80 train, 100 test, 40 public records per world.
    assert {current_fingerprint(fingerprint) for fingerprint in found} == {
        "3868744d423ed9621af8648e422f7b9c5336fe8391a0ea21f941065fdb74800d"
    }


def test_a_fingerprint_of_today_or_of_other_data_is_unchanged():
    for fingerprint in (*CURRENT.values(), "ab" * 32, ""):
        assert current_fingerprint(fingerprint) == fingerprint
