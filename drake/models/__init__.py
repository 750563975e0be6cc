"""Backbones: checkpoints, prompts, encoded pictures, and how the embedded tiny backbones are made."""
