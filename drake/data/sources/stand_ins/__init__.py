"""Procedural stand-ins for the benchmarks beside DRAKE: the same clients and tasks, small records made by programs.

Sources of `drake build` and of runs without `--data`; what each stands in for is in `drake.catalog.benchmarks`.
"""
