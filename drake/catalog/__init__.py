"""The catalog: all tasks, clients with their tasks, and backbones with the clients that hold them.

Every package may use it; it imports none of them and loads in milliseconds (TOML and the standard library). The data
are in `tasks.toml`, `scenarios.toml`, `benchmarks.toml`, `models.toml` and `prompts.toml` beside this file.

    tasks("drake")["NLVR2-0"].n_images        # 2
    clients()[0]                              # ("Fashion200K-0", "MagicBrush-0", "VISION-0", "FashionIQ-0")
    assign(["llama3b", "llama1b"]).name       # "hetero_llava_llama_1B_3B"
"""

from drake.catalog.benchmarks import Benchmark, benchmark, benchmarks
from drake.catalog.models import Assignment, Model, TextShape, assign, models, official_prompts
from drake.catalog.tasks import Task, clients, task, tasks, unseen

__all__ = [
    "Assignment",
    "Benchmark",
    "Model",
    "Task",
    "TextShape",
    "assign",
    "benchmark",
    "benchmarks",
    "clients",
    "models",
    "official_prompts",
    "task",
    "tasks",
    "unseen",
]
