"""Engines: they run clients in this process, in forked processes, or on GPUs and machines through Ray."""
