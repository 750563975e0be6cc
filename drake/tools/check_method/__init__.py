"""`drake check-method`: what a method of one's own breaks, found on a small federation before a long run does.

Two clients of one backbone train a few rounds in the loop of a real run; then the same work is done again with one
circumstance changed that must not matter.

trial.py    a method and the small federations it is tried on
checks.py   what is looked at: functions of a trial that return a sentence when something is wrong
cost.py     the check of equal compute
leaks.py    the search for records in what is sent
compare.py  what two runs do not share
"""

from drake.tools.check_method.checks import CHECKS, Check, findings
from drake.tools.check_method.trial import Trial, TrialSize

__all__ = ["CHECKS", "Check", "Trial", "TrialSize", "findings"]
