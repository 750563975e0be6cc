"""Fails when fewer tests passed than tests/FLOOR holds: `python .ci/floor.py REPORT`, a JUnit XML report of pytest.

A test that is skipped, is not collected or has lost its file makes no noise of its own; the floor makes it heard.
"""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

FLOOR = Path(__file__).parents[1] / "tests" / "FLOOR"


def passed_tests(report: Path) -> int:
    """Number of tests in the report that ran and did not fail; expected failures count as skipped."""
    counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for suite in ET.parse(report).getroot().iter("testsuite"):
        for key in counts:
            counts[key] += int(suite.get(key, 0))
    return counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]


def main(report: Path) -> None:
    """Prints one line and returns, or exits with status 1 and one sentence."""
    floor = int(FLOOR.read_text())
    try:
        passed = passed_tests(report)
    except (OSError, ET.ParseError) as error:
        sys.exit(f"The report {report} cannot be read, so the tests that passed cannot be counted: {error}.")
    if passed < floor:
        sys.exit(
            f"Only {passed} tests passed, fewer than the {floor} in tests/FLOOR: find the tests that are missing or"
            " skipped (pytest lists the skipped ones), or lower the number in a commit that says why."
        )
    print(f"Floor of tests: {passed} >= {floor}.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
