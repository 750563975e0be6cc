"""CI fails when fewer tests pass than tests/FLOOR holds, whatever pytest itself says."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAKE_MAKE = """#!/bin/sh
echo "make $1"
for argument in "$@"; do
  case "$argument" in PYTEST_ARGS=--junitxml=*) report=${argument#PYTEST_ARGS=--junitxml=} ;; esac
done
cp "$FAKE_REPORT" "$report"
exit "$FAKE_STATUS"
"""


@pytest.fixture
def ci(tmp_path):
    """Runs a copy of .ci/run whose `make` hands over a given report, with a floor of 10 tests."""
    root = tmp_path / "repository"
    shutil.copytree(ROOT / ".ci", root / ".ci", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "tests").mkdir()
    (root / "tests/FLOOR").write_text("10\n")
    (root / ".venv/bin").mkdir(parents=True)
    (root / ".venv/bin/python").symlink_to(sys.executable)
    make = tmp_path / "bin" / "make"
    make.parent.mkdir()
    make.write_text(FAKE_MAKE)
    make.chmod(0o755)

    def run(report: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        (tmp_path / "report.xml").write_text(report)
        env = os.environ | {
            "PATH": f"{make.parent}{os.pathsep}{os.environ['PATH']}",
            "FAKE_REPORT": str(tmp_path / "report.xml"),
            "FAKE_STATUS": str(status),
        }
        return subprocess.run(["bash", str(root / ".ci/run")], env=env, text=True, capture_output=True)

    return run


def report(tests: int, failures: int = 0, errors: int = 0, skipped: int = 0) -> str:
    return (
        f'<testsuites><testsuite name="pytest" tests="{tests}" failures="{failures}" errors="{errors}"'
        f' skipped="{skipped}"/></testsuites>'
    )


def test_as_many_tests_as_the_floor_are_enough(ci):
    result = ci(report(12, skipped=2))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == ["make test", "Floor of tests: 10 >= 10."]


@pytest.mark.parametrize("missing", [report(9), report(12, skipped=3), report(12, failures=1, errors=1, skipped=1)])
def test_one_test_fewer_fails_with_both_numbers(ci, missing):
    result = ci(missing)
    assert result.returncode == 1
    assert "Only 9 tests passed, fewer than the 10 in tests/FLOOR" in result.stderr


def test_a_failed_make_test_fails_even_when_enough_tests_passed(ci):
    assert ci(report(12, failures=1), status=2).returncode == 2


def test_a_report_that_cannot_be_read_fails_with_a_sentence(ci):
    result = ci("<testsuites>")
    assert result.returncode == 1
    assert "cannot be read" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_committed_floor_is_no_lower_than_when_it_was_introduced():
    assert int((ROOT / "tests/FLOOR").read_text()) >= 1218


def test_make_test_hands_its_arguments_to_pytest():
    shown = subprocess.run(
        ["make", "--dry-run", "test", "PYTEST_ARGS=--junitxml=out.xml"], cwd=ROOT, text=True, capture_output=True
    )
    assert shown.returncode == 0, shown.stderr
    (line,) = [line for line in shown.stdout.splitlines() if "/pytest " in line]
    assert line.endswith(" --junitxml=out.xml")
