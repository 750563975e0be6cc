"""The settings of a run: what each is called, what type and range it has, and what it means. Everything else that
speaks of settings (the options of `drake eval`, files, `--set`, docs/configuration.md) is read from here.

A setting without a default is a number that every preset gives; see presets.toml.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, cast, get_type_hints

from drake.config.flags import FLAGS as FLAGS

Names = tuple[str, ...]
Seeds = tuple[int, ...]
Shares = Mapping[str, float]
Prompts = Literal["auto", "official", "stored"]
Pictures = Literal["auto", "pad", "stored"]
LoadIn = Literal["full", "8bit", "4bit"]
Starts = Mapping[str, int]


@dataclass(frozen=True)
class Setting:
    """What a setting means, and its range. above: value > above. least, most: least <= value <= most. below: value <
    below. `None` and words such as "auto" have no range."""

    meaning: str
    above: float | None = None
    least: float | None = None
    most: float | None = None
    below: float | None = None


@dataclass(frozen=True)
class Training:
    """Local training, the same for every method."""

    rank: Annotated[int, Setting("Rank of every LoRA adapter.", above=0, most=8192)]
    alpha: Annotated[float, Setting("The output of an adapter is scaled by alpha / rank.", above=0)]
    dropout: Annotated[float, Setting("Dropout on the input of every LoRA adapter.", least=0, below=1)]
    learning_rate: Annotated[float, Setting("Learning rate of A and B.", above=0)]
    shared_learning_rate: Annotated[float, Setting("Learning rate of P, Q and scalar gates.", above=0)]
    weight_decay: Annotated[float, Setting("Weight decay of AdamW.", least=0)]
    gradient_clip: Annotated[float, Setting("Largest norm of a gradient.", above=0)]
    steps: Annotated[
        int,
        Setting(
            "Optimizer steps per client and round of a method with relative cost 1; a dearer method takes fewer.",
            above=0,
        ),
    ]
    micro_batch: Annotated[int, Setting("Records of one forward pass.", above=0)]
    accumulation: Annotated[int, Setting("Forward passes of an optimizer step.", above=0)]
    optimizer_state: Annotated[
        Literal["fresh", "kept"],
        Setting("Whether AdamW's moments start at zero in every round, or stay with the client (the official code)."),
    ] = "fresh"

    def local_steps(self, relative_cost: float) -> float:
        """Optimizer steps per round, on average, that cost as much as `steps` of SFT."""
        return self.steps / relative_cost

    def steps_by_round(self, relative_cost: float, rounds: int) -> list[int]:
        """Whole numbers, at least one each, that add up to `local_steps` times the rounds (rounded down): a method
        half a step dearer than SFT leaves out a step every other round."""
        mean = self.local_steps(relative_cost)
        return [max(1, int((k + 1) * mean + 1e-9) - int(k * mean + 1e-9)) for k in range(rounds)]


@dataclass(frozen=True)
class Evaluation:
    """When clients are evaluated, and on how much."""

    records: Annotated[
        int, Setting("Test records of each of its own tasks that a client is scored on; 0 for all.", least=0)
    ]
    max_new_tokens: Annotated[int, Setting("Length of the longest answer, in tokens.", above=0)]
    tokens: Annotated[
        int | Literal["auto"],
        Setting('Padded tokens of an evaluation batch; "auto": as many as the GPU holds.', above=0),
    ]
    every: Annotated[
        int | None, Setting("Rounds between evaluation points. [default: the ends of the tasks]", above=0)
    ] = None
    records_others: Annotated[
        int | None,
        Setting("The same for the tasks of other clients. [default: as many as of its own]", above=0),
    ] = None
    unseen: Annotated[
        Literal["none", "last", "all"],
        Setting("When clients answer the tasks that nobody trains on: never, at the last point, or at every point."),
    ] = "none"
    records_unseen: Annotated[
        int | None,
        Setting("Test records of each of these tasks. [default: as many as of other clients' tasks]", above=0),
    ] = None
    sample: Annotated[
        Literal["first", "stratified"],
        Setting("Which test records: the first ones, or a sample with every answer in its proportion."),
    ] = "stratified"
    at: Annotated[
        Literal["trained", "aggregated"],
        Setting("Whether clients answer after their local training of a round, or after the server has aggregated."),
    ] = "trained"
    also_aggregated: Annotated[
        bool, Setting('With "trained": let clients answer after the aggregation too, beside the official scores.')
    ] = False


@dataclass(frozen=True)
class Data:
    """The records, and how they reach the clients."""

    train: Annotated[int, Setting("Training records per task of the mini suite.", above=0)]
    test: Annotated[int, Setting("Test records per task of the mini suite.", above=0)]
    public: Annotated[
        int, Setting("Public records per world of the mini suite; of another benchmark's, in all.", least=0)
    ]
    path: Annotated[
        str | None,
        Setting("A dataset folder of `drake build`, or a hub repository. [default: the benchmark's mini suite]"),
    ] = None
    benchmark: Annotated[
        str,
        Setting(
            "A name of `drake benchmarks`: which mini suite is used without --data, and the numbers that it changes in "
            "the preset."
        ),
    ] = "drake"
    public_from: Annotated[
        str | None,
        Setting(
            "Public records of another source: the folder of LLaVA's fine-tuning mix, any source of `drake build`, "
            "or a dataset. [default: those of the dataset]"
        ),
    ] = None
    public_most: Annotated[
        int, Setting("Public records drawn from that source; 0 for all, which keeps a copy of them.", least=0)
    ] = 5000
    clients: Annotated[
        int | None,
        Setting("Number of clients, who share the tasks in turn. [default: those of the dataset]", above=0, most=1000),
    ] = None
    split: Annotated[
        Literal["dynamic", "static", "dirichlet", "dirichlet-across"],
        Setting("How records reach the clients: task after task (dynamic), or mixed."),
    ] = "dynamic"
    alpha: Annotated[float, Setting("Concentration of the Dirichlet splits.", above=0)] = 0.5


@dataclass(frozen=True)
class Participation:
    """Which clients take part in a round."""

    share: Annotated[float, Setting("Share of the clients asked in a round.", above=0, most=1)] = 1.0
    client_dropout: Annotated[
        float, Setting("Probability that a client that was asked fails in a round.", least=0, below=1)
    ] = 0.0
    deadline: Annotated[
        float | None,
        Setting("Drop clients that take longer, in units of the median client's usual round.", above=0),
    ] = None
    absent: Annotated[
        Seeds, Setting("Numbers of clients, from 0, that never take part, such as 0,3 or 1-9.", least=0)
    ] = ()
    late: Annotated[
        Starts,
        Setting("Clients that join late, each with the first round (from 1) it trains in: 8=11 or 8-9=11.", above=0),
    ] = field(default_factory=dict[str, int])


@dataclass(frozen=True)
class Execution:
    """Where and how the work is done."""

    dtype: Annotated[Literal["float32", "bfloat16"], Setting("Type of the backbones' weights.")]
    gradient_checkpointing: Annotated[
        bool, Setting("Compute activations again instead of keeping them: less memory for a third more time.")
    ]
    engine: Annotated[
        Literal["auto", "serial", "processes", "ray"],
        Setting("Where clients run: in this process, in one process per core (auto, on a CPU), or on many GPUs."),
    ] = "auto"
    workers: Annotated[
        int | None, Setting("Processes of the engine. [default: one per core, or per GPU]", above=0, most=1024)
    ] = None
    threads: Annotated[
        int | None, Setting("Threads PyTorch computes with, in each process. [default: all cores]", above=0, most=1024)
    ] = None
    device: Annotated[str, Setting("cpu, cuda, cuda:1, or auto: a GPU where there is one.")] = "auto"
    gpu_share: Annotated[
        Shares, Setting("For the engine ray: the part of a GPU that a process of a backbone takes.", above=0, most=1)
    ] = field(default_factory=dict[str, float])
    compile: Annotated[bool, Setting("Compile the decoder layers for training: a slow start, then faster.")] = False
    feature_cache: Annotated[
        str | None, Setting("A folder for encoded pictures, which later runs need not encode again.")
    ] = None
    feature_cache_gb: Annotated[float, Setting("Size of that folder; the oldest files are deleted.", above=0)] = 20.0
    tensorboard: Annotated[bool, Setting("Write RUN/tensorboard too.")] = False


OF_BACKBONES = {"prompts": "auto", "pictures": "auto", "load_in": "full"}
"""Settings of the Config that say how backbones are loaded and asked, and what they are by default."""


@dataclass(frozen=True)
class Config:
    """Everything that a user decides about a run: one object, made by `configure` or `resolve` and never changed."""

    method: Annotated[str, Setting('A name of `drake methods`, or "module:Class".')]
    preset: Annotated[str, Setting("quick, mini or paper: the values of all settings that are not given.")]
    models: Annotated[
        Names,
        Setting(
            "Backbones, comma-separated: names of `drake backbones list`, repositories of the Hugging Face Hub or "
            "checkpoint folders."
        ),
    ]
    rounds_per_task: Annotated[float, Setting("Rounds that a task lasts; rounds = tasks per client x this.", above=0)]
    training: Training
    evaluation: Evaluation
    data: Data
    execution: Execution
    participation: Participation = Participation()
    seeds: Annotated[
        Seeds, Setting("One federation for each: 0,1,2 or 0-2. A run can be given more later.", least=0)
    ] = (0,)
    prompts: Annotated[
        Prompts,
        Setting(
            "How backbones are asked: with the official code's prompt of their family (official), with their own chat "
            "template (stored), or officially where they are the six of the paper (auto)."
        ),
    ] = "auto"
    pictures: Annotated[
        Pictures,
        Setting(
            "Whether pictures are padded to a square, as the official code does (pad), prepared as the checkpoint says "
            "(stored), or padded where the backbones are the six of the paper (auto)."
        ),
    ] = "auto"
    load_in: Annotated[
        LoadIn,
        Setting(
            "Load backbones with weights of their dtype (full) or quantised to 8bit or 4bit, which needs a GPU and "
            "pip install drake-bench[quantised]."
        ),
    ] = "full"
    rounds: Annotated[
        int | None, Setting("Rounds in all, spread evenly over the tasks, instead of rounds_per_task.", above=0)
    ] = None
    method_options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The method's own hyperparameters, all of them, of the types in the method's `Options`; empty without a method."""

    @property
    def of_backbones(self) -> dict[str, Any]:
        """The settings that `drake.models.backbones.load` takes, by the same names."""
        return {name: getattr(self, name) for name in OF_BACKBONES}

    @property
    def unusual_of_backbones(self) -> dict[str, Any]:
        """Those of them that are not the default. Only these are part of what a run is known by, so that runs from
        before there was a choice are what they were."""
        return {name: value for name, value in self.of_backbones.items() if value != OF_BACKBONES[name]}

    def with_(self, **settings: Any) -> Config:
        """A copy with some settings changed, named as in `drake.config.configure`; the method stays."""
        from drake.config.resolve import changed

        return changed(self, settings)

    def as_dict(self) -> dict[str, Any]:
        """The contents of a configuration file that makes an equal Config: no None, lists for tuples."""
        found = _plain(asdict(self))
        options = found.pop("method_options", None)
        if self.rounds is not None:
            del found["rounds_per_task"]  # a file gives one or the other
        if options:
            found[self.method] = options
        return {key: value for key, value in found.items() if value != {}}


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found[name] = _plain(cast("Mapping[str, Any]", value))
        elif value is not None:
            found[name] = list(cast("tuple[Any, ...]", value)) if isinstance(value, tuple) else value
    return {name: value for name, value in found.items() if value not in ({}, [])}


class Known(NamedTuple):
    """One setting: its type, its meaning, and its default (MISSING where the preset gives it)."""

    kind: Any
    setting: Setting
    default: Any


GROUPS: dict[str, type] = {
    "training": Training,
    "evaluation": Evaluation,
    "data": Data,
    "participation": Participation,
    "execution": Execution,
}
"""The settings with a dot in their name: `training.rank` is the field `rank` of Training."""


@cache
def known_settings() -> dict[str, Known]:
    """Full name -> what is known of the setting, in the order of the classes."""
    return dict(_walk(Config, ""))


def _walk(owner: type, prefix: str) -> Iterator[tuple[str, Known]]:
    hints = get_type_hints(owner, include_extras=True)
    for one in fields(owner):
        hint = hints[one.name]
        if hasattr(hint, "__metadata__"):
            default = one.default_factory() if callable(one.default_factory) else one.default
            yield f"{prefix}{one.name}", Known(hint.__origin__, hint.__metadata__[0], default)
        elif isinstance(hint, type) and is_dataclass(hint):
            yield from _walk(hint, f"{one.name}.")
