"""The configuration of a run: preset + file + command line -> one typed, frozen `Config`, resolved once.

schema.py     the settings: names, types, ranges, meanings
presets.toml  the presets, each a configuration file
sources.py    where settings come from
values.py     one value, read by its type
options.py    a method's own hyperparameters
resolve.py    sources -> Config
file.py       Config -> configuration file
"""

from drake.config.options import options_of, parse_options
from drake.config.resolve import configure, preset, presets, required, resolve
from drake.config.schema import Config, Data, Evaluation, Execution, Participation, Setting, Training
from drake.config.values import positive

__all__ = [
    "Config",
    "Data",
    "Evaluation",
    "Execution",
    "Participation",
    "Setting",
    "Training",
    "configure",
    "options_of",
    "parse_options",
    "positive",
    "preset",
    "presets",
    "required",
    "resolve",
]
