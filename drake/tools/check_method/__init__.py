"""`drake check-method`: tests a method on a small federation, so that its errors show before a long run.

Two clients of one backbone train for a few rounds in the loop of a real run. Then the same rounds are repeated with one
change that must not affect the result, such as the order of the clients.

trial.py    a method and the small federations it is tried on
checks.py   the checks: functions of a trial that return a sentence when something is wrong
cost.py     the check of equal compute
leaks.py    the search for records in what is sent
compare.py  differences between two runs
"""

from drake.tools.check_method.checks import CHECKS, Check, findings
from drake.tools.check_method.trial import Trial, TrialSize

__all__ = ["CHECKS", "Check", "Trial", "TrialSize", "findings"]
