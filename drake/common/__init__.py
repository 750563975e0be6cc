"""Helpers that know nothing of federated learning: atomic files, random seeds, signals, differences of settings."""
