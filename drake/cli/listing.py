"""The commands of `drake`: where each is found, and the sections of `drake --help`."""

from __future__ import annotations

from typing import NamedTuple


class Listed(NamedTuple):
    """A command in `drake --help`. where: its module:command, or "" where a package adds it by the entry points
    "drake.commands". text: at most 62 characters, what a terminal of 80 has room for."""

    where: str
    text: str


SECTIONS = {
    "Data": {
        "build": Listed("drake.cli.build:build", "Write a benchmark as a folder that load_dataset opens."),
        "check-source": Listed("drake.cli.data:check_source", "Read every record of a source and list what is wrong."),
        "verify": Listed("drake.cli.dataset:verify", "Check a built dataset: hashes, records, pictures, repeats."),
        "info": Listed("drake.cli.dataset:info", "Say what a dataset is: tasks, clients, pictures, licences."),
        "peek": Listed("drake.cli.dataset:peek", "Draw records on a contact sheet."),
        "push": Listed("drake.cli.dataset:push", "Upload a dataset to the Hugging Face Hub."),
    },
    "Runs": {
        "eval": Listed("drake.cli.evaluate:evaluate", "Train and score a federation; continue a stopped run."),
        "methods": Listed("drake.cli.catalog:methods", "List what --method takes."),
        "benchmarks": Listed(
            "drake.cli.catalog:list_benchmarks", "List what --benchmark takes, and what is known of one."
        ),
        "backbones": Listed("drake.cli.catalog:backbones", "List what --models takes, or make the tiny backbones."),
        "adapt": Listed("drake.cli.unseen:adapt", "Train a run's final models a few steps on unseen tasks."),
        "export": Listed("drake.cli.tools:export", "Write clients' models as PEFT adapters or checkpoints."),
    },
    "Results": {
        "leaderboard": Listed("", "Rank runs, submissions and published results."),
        "show": Listed("drake.cli.inspect:show", "Summarise a run: scores, worst tasks, wrong answers."),
        "plot": Listed("drake.cli.inspect:plot", "Draw runs: scores over rounds, traffic, forgetting."),
        "compare": Listed("drake.cli.compare:compare", "Tell which of several runs are better, with intervals."),
        "plan": Listed("drake.cli.plan:plan", "Tell how many seeds and questions a difference needs."),
        "unseen": Listed("drake.cli.unseen:unseen", "Compare runs on the tasks that no client trains on."),
        "score": Listed("", "Score stored answers again, without a model."),
        "diff": Listed("drake.cli.inspect:diff", "Print where two runs first differ."),
        "convert": Listed("drake.cli.convert:convert", "Write results for Every Eval Ever or the Hub."),
    },
    "Submissions": {
        "submit": Listed("", "Check a run and make a submission of it."),
        "validate": Listed("", "Check submissions; --rerun trains a seed again."),
    },
    "Methods and models": {
        "check-method": Listed("drake.cli.tools:check_method", "Try a method of your own and list what it breaks."),
        "comm": Listed("drake.cli.tools:comm", "Count what each method would send with real backbones."),
        "value": Listed("drake.cli.value:value", "Measure what each client gains from and gives to the others."),
        "transfer": Listed("drake.cli.tools:transfer", "Fine-tune on one task and score it on others."),
        "align": Listed("", "Align the frozen A and B of Co-LoRA across backbones."),
        "cka": Listed("", "Compare the layers of two backbones."),
    },
}
"""Heading -> commands, in the order of `drake --help`."""
COMMANDS = {name: found.where for section in SECTIONS.values() for name, found in section.items() if found.where}
"""Name -> module:command. Other packages add theirs through the entry points "drake.commands"."""
