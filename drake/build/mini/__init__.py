"""The embedded suite: procedural worlds that stand in for every source of DRAKE. `drake.build` calls `suite.py`."""
