"""The leaderboard: runs, submissions and published results become ranked tables.

It reads `drake.results` and the data, and knows no method. The command line finds `commands.py` through the entry
points "drake.commands"; `ranking.py`, `terminal.py`, `formats.py` and `submission.py` can be called from Python.
"""
