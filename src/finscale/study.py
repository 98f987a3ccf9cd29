"""The study file: every setting typed, documented and defaulted.

A study is read once (:func:`finscale.study_file.load_study`), is frozen from then on, and nothing
downstream reads YAML. The vocabulary of the laboratory (here baselines and pruners, in `study_rows`
tiers and tasks) is spelled out, so that a bad word is refused before anything is spent.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import AfterValidator, Field, model_validator

from finscale.files import hash_json
from finscale.study_data import BundledData, DataSettings, PositiveInt, Settings
from finscale.study_rows import (
    DataSize,
    DataSizes,
    DateSplit,
    Features,
    Fraction,
    FractionSplit,
    Patches,
    TaskName,
    Windows,
)

PrunerName = Literal["none", "median", "wilcoxon"]
BaselineName = Literal[
    "base_rate",
    "logistic_volatility",
    "logistic_all",
    "logistic_window",
    "random_forest",
    "gradient_boosting",
    "garch",
    "har_range",
    "linear_window",
    "mlp_window",
]

DropoutRate = Annotated[float, Field(ge=0, lt=1)]


def _budget_label(label: str | int) -> str:
    if not re.fullmatch(r"[1-9]\d*(\.\d+)?[KMB]|[1-9]\d*", str(label)):
        raise ValueError("write a budget as 5K, 1.5M, 2B or 1500")
    return str(label)


def _study_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise ValueError("use letters, digits, '_', '-' and '.' (it names the run directory)")
    return name


def _architecture_label(label: str) -> str:
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*){3}", label):
        raise ValueError("write an architecture as d_model x n_layers x n_heads x d_ff, 64x2x4x256")
    return label


BudgetLabel = Annotated[str | int, AfterValidator(_budget_label)]
StudyName = Annotated[str, AfterValidator(_study_name)]
ArchitectureLabel = Annotated[str, AfterValidator(_architecture_label)]


class Grid(Settings):
    """Choices for each dimension of an architecture."""

    d_model: tuple[PositiveInt, ...] = Field(min_length=1)
    n_layers: tuple[PositiveInt, ...] = Field(min_length=1)
    n_heads: tuple[PositiveInt, ...] = Field(min_length=1)
    ff_ratio: tuple[PositiveInt, ...] = Field(
        default=(2, 4), min_length=1, description="d_ff / d_model"
    )


class Ladder(Settings):
    """Parameter budgets, and the architectures that compete within each."""

    budgets: tuple[BudgetLabel, ...] = Field(
        default=("2M", "20M", "200M", "2B"), min_length=1, description="target parameter counts"
    )
    tolerance_frac: Fraction = Field(
        default=0.25, description="built count within ± this of the target"
    )
    grid: Grid | None = Field(
        default=None,
        description="null: the reference grid from 1.5M up, the small-budget grid below",
    )


class Training(Settings):
    """What every training run shares."""

    effective_batch: PositiveInt = Field(default=256, description="windows per optimiser step")
    max_grad_norm: float = Field(
        default=1.0, gt=0, description="gradients are clipped to this norm"
    )
    patience: PositiveInt = Field(
        default=10, description="epochs without improvement before stopping"
    )
    min_delta: float = Field(
        default=0.001, ge=0, description="improvement that resets the patience, nats"
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto", description="auto: bf16 autocast where the device is faster with it"
    )


class LogRange(Settings):
    """A range sampled uniformly in the logarithm; low and high included."""

    low: float = Field(gt=0)
    high: float = Field(gt=0)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low > self.high:
            raise ValueError("low must not be above high")
        return self


class Space(Settings):
    """The recipe's search space. The architecture is searched over the budget's grid."""

    learning_rate: LogRange = LogRange(low=1e-4, high=1e-3)
    weight_decay: LogRange = LogRange(low=1e-4, high=5e-3)
    dropout: tuple[DropoutRate, ...] = Field(
        default=(0.1, 0.2, 0.3, 0.5, 0.7), min_length=1, description="choices"
    )
    warmup_steps: tuple[PositiveInt, ...] = Field(default=(100, 200, 300, 500), min_length=1)
    epochs: tuple[PositiveInt, ...] = Field(default=(50, 75, 100), min_length=1)


class Search(Settings):
    """How the best architecture and recipe of an experiment are looked for."""

    n_trials: PositiveInt = Field(
        default=50, description="trials per experiment, extremes included"
    )
    sampler: Literal["tpe", "random"] = Field(
        default="tpe", description="how architectures and recipes are drawn after the extremes"
    )
    n_startup_trials: PositiveInt = Field(
        default=20, description="random trials before TPE takes over"
    )
    random_share: float = Field(
        default=0.2, ge=0, le=1, description="share of the trials after those that stay random"
    )
    extremes_first: bool = Field(
        default=True, description="force the grid's extremes before sampling"
    )
    pruner: PrunerName = Field(
        default="median", description="what stops sampled trials that fall behind; none: nothing"
    )
    prune_after_frac: float = Field(
        default=0.3, ge=0, le=1, description="share of a trial's schedule before it can be pruned"
    )
    prune_after_epochs: PositiveInt = Field(
        default=5, description="epochs before it can be, at least; folds prune from the first on"
    )
    space: Space = Space()

    @property
    def prune(self) -> bool:
        """Whether trials can be pruned at all."""
        return self.pruner != "none"


class Final(Settings):
    """The final training of each experiment's best recipe."""

    n_seeds: int = Field(default=3, ge=3, description="independent seeds")


class Scaling(Settings):
    """The fit of the scaling law."""

    n_bootstrap: int = Field(default=2000, ge=200, description="parametric bootstrap samples")
    confidence: Fraction = Field(default=0.95, description="level of the intervals")


class Evidence(Settings):
    """How forecasts are weighed on the test rows; nothing that is trained depends on it."""

    n_bootstrap: int = Field(default=1000, ge=100, description="resamplings of the test dates")
    walk_forward_blocks: int = Field(
        default=0,
        ge=0,
        description="blocks of history, as long as validation, that each winner is trained before "
        "and scored on",
    )
    cost_bps: float = Field(
        default=5.0, ge=0, description="backtest: cost of trading the full amount once, in 0.01%"
    )
    lag_bars: int = Field(
        default=0, ge=0, description="backtest: closes between a decision and its trade"
    )


class Machine(Settings):
    """Where training runs, and how it is watched; temperatures are the hotter of CPU and GPU."""

    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        default="auto", description="auto: best there is"
    )
    n_threads: int = Field(default=0, ge=0, description="CPU threads; 0: one per core")
    sample_every_s: float = Field(
        default=10.0, gt=0, description="time between entries of the machine's log"
    )
    accept_c: float = Field(default=70.0, description="°C: from here on it is warm; said once")
    resume_c: float = Field(default=75.0, description="°C: a pause ends here or below")
    pause_c: float = Field(default=85.0, description="°C: from here on training pauses")
    stop_c: float = Field(default=95.0, description="°C: from here on it pauses, then stops")

    @model_validator(mode="after")
    def _heat_in_order(self) -> Self:
        if not max(self.accept_c, self.resume_c) < self.pause_c < self.stop_c:
            raise ValueError(
                "accept_c and resume_c must be below pause_c, and pause_c below stop_c"
            )
        return self


class PartialRecipe(Settings):
    """Values of a recipe; what is left out is taken from the experiment's best trial.

    Before there is a complete trial it is taken from the middle of the search space.
    """

    learning_rate: float | None = Field(default=None, gt=0)
    weight_decay: float | None = Field(default=None, ge=0)
    dropout: DropoutRate | None = None
    warmup_steps: PositiveInt | None = None
    epochs: PositiveInt | None = None

    def given(self) -> dict[str, float | int]:
        """Return the values that are given."""
        return self.model_dump(exclude_none=True)


class Supplementary(Settings):
    """An architecture trained beside the search of some experiments, and no part of it."""

    experiment: str = Field(
        default="*", min_length=1, description="experiments, as a pattern such as 20K_h1_*"
    )
    architecture: ArchitectureLabel = Field(description="d_model x n_layers x n_heads x d_ff")
    recipe: PartialRecipe = PartialRecipe()
    seeds: PositiveInt = Field(default=1, description="independent seeds")
    score_test: bool = Field(
        default=False, description="score the test part too; counted as a look at it"
    )


class Study(Settings):
    """The whole matrix: budgets × horizons × tasks on one data set and one tier."""

    name: StudyName = Field(description="names the run directory")
    seed: int = Field(default=0, ge=0, lt=2**31, description="every random draw derives from it")
    data: Annotated[DataSettings, Field(discriminator="source")] = BundledData()
    data_sizes: DataSizes = DataSizes()
    features: Features = Features()
    tasks: tuple[TaskName, ...] = Field(default=("threshold_1pct",), min_length=1)
    horizons: tuple[PositiveInt, ...] = Field(
        default=(1, 3, 5), min_length=1, description="bars ahead"
    )
    split: Annotated[DateSplit | FractionSplit, Field(discriminator="by")] = FractionSplit()
    windows: Windows = Windows()
    patches: Patches = Patches()
    ladder: Ladder = Ladder()
    training: Training = Training()
    search: Search = Search()
    final: Final = Final()
    baselines: tuple[BaselineName, ...] = get_args(BaselineName)
    scaling: Scaling = Scaling()
    evidence: Evidence = Evidence()
    machine: Machine = Machine()
    storage: str | None = Field(
        default=None,
        description="URL of a PostgreSQL database for workers on several machines; "
        "null: search.db in the run directory",
    )
    supplementary: tuple[Supplementary, ...] = Field(
        default=(), description="chosen architectures, trained beside the searches"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name, values in (
            ("tasks", self.tasks),
            ("horizons", self.horizons),
            ("ladder.budgets", self.ladder.budgets),
            ("baselines", self.baselines),
            ("data.symbols", self.data.symbols or ()),
            ("data_sizes.history_frac", self.data_sizes.history_frac),
            ("data_sizes.n_symbols", self.data_sizes.n_symbols or ()),
            ("features.extra", self.features.extra),
        ):
            if len(set(values)) < len(values):
                raise ValueError(f"{name}: the same value stands twice")
        if "base_rate" not in self.baselines:
            raise ValueError("baselines: base_rate must be among them, skill is measured from it")
        return self

    def sizes(self) -> tuple[DataSize, ...]:
        """Return the data sizes of the matrix, the largest last."""
        return tuple(
            DataSize(history_frac=history_frac, n_symbols=n_symbols)
            for n_symbols in sorted(self.data_sizes.n_symbols or ()) or (None,)
            for history_frac in sorted(self.data_sizes.history_frac)
        )

    def to_yaml(self) -> str:
        """Return the study with every default written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    def training_settings(self) -> dict[str, Any]:
        """Return the settings that a training run's result depends on, beside its own cell.

        Left out are those that decide only how many runs there are (trials, seeds, budgets,
        horizons, tasks), in which order they are tried, or what is made of them afterwards; and
        the data's place, since the bars have a hash of their own.
        """
        return self.model_dump(
            mode="json",
            include={
                "seed": True,
                "features": {"tier", "extra"},
                "split": True,
                "windows": True,
                "patches": True,
                "training": True,
                "search": {"space"},
            },
        )

    def training_settings_hash(self) -> str:
        """Hash the settings that a training run's result depends on."""
        return hash_json(self.training_settings())
