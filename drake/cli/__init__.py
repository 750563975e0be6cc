"""The command line `drake`: a module per group of commands. Commands parse, call the library and print."""

from drake.cli.main import drake, main

__all__ = ["drake", "main"]
