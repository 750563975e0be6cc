"""Scoring: generation of answers, the choices they pick, metrics, and scores per client and task."""
