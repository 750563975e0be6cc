"""The nine baselines that FedMosaic is compared with, one file each, and what they share: `averaging` (FedAvg of an
adapter), `distillation`, `translation` and `knowledge` (predictions on public data), `weighing` (FedDPA's
input-dependent weights).

This package imports drake. drake finds the methods through the entry points "drake.methods" and never imports it.
"""
