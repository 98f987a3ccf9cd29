"""The text of the generated scripts; names in ``$`` are filled in."""

from __future__ import annotations

from string import Template

SEARCH = Template('''\
"""Search for the best model of $experiment.

$about
    python $file [--out DIR]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import finscale
from finscale.errors import FinscaleError
from finscale.progress import TextProgress
from finscale.study_file import parse_study

EXPERIMENT = $name

$architectures
STUDY = $study


def main() -> None:
    """Run the search, or go on with it."""
    parser = argparse.ArgumentParser(description=f"Search for the best {EXPERIMENT}.")
    parser.add_argument("--out", type=Path, default=Path("runs") / EXPERIMENT)
    out = parser.parse_args().out
    study = parse_study(STUDY)
    lines = TextProgress(print)
    try:
        outcome = finscale.run(
            study, out, stages=["search"], only=EXPERIMENT, progress=lines
        )
    except FinscaleError as error:
        sys.exit(str(error))
    if outcome.failures:
        sys.exit(f"{EXPERIMENT}: {outcome.failures[EXPERIMENT]}")
    print(f"best trial: {out}/experiments/{EXPERIMENT}/best.json")


if __name__ == "__main__":
    main()
''')

TRAINING = Template('''\
"""Train the best model of $experiment with $n_seeds seeds, and score it.

$about
    python $file [--out DIR] [--score-test]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from finscale.evaluation.metrics import skill
from finscale.evaluation.outcomes import base_loss, row_loss, to_probabilities
from finscale.ladder.batching import Batching
from finscale.machine.device import choose_device, use_threads
from finscale.models.architecture import Architecture
from finscale.models.cost import count_parameters
from finscale.pipeline.prepare import prepare
from finscale.study_file import parse_study
from finscale.training.checkpoint import save_tensors
from finscale.training.loop import build_model, score, train
from finscale.training.recipe import Recipe, TrainingJob

EXPERIMENT = $name

ARCHITECTURE = Architecture($architecture)
RECIPE = Recipe(
$recipe)
SEEDS = $seeds

# Windows held in memory at a time, and how many times that to a step of the optimiser.
BATCHING = Batching(
    micro_batch=$micro_batch,
    accumulation_steps=$accumulation_steps,
    activation_checkpointing=$activation_checkpointing,
)
PRECISION = "$precision"

# The study cut down to this experiment; its search is over, the rest is used.
STUDY = $study


def main() -> None:
    """Train with every seed, and print the scores."""
    parser = argparse.ArgumentParser(description=f"Train the best {EXPERIMENT}.")
    parser.add_argument("--out", type=Path, help="keep the weights in this directory")
    parser.add_argument(
        "--score-test", action="store_true", help="score it too; no ledger counts it"
    )
    arguments = parser.parse_args()
    parts = ["validation", "test"] if arguments.score_test else ["validation"]

    study = parse_study(STUDY)
    prepared = prepare(study)
    [experiment] = [one for one in prepared.experiments if one.name == EXPERIMENT]
    data = prepared.cells[experiment.cell_name]

    device = choose_device(study.machine)
    n_values = BATCHING.micro_batch * experiment.shape.n_patches * ARCHITECTURE.d_model
    use_threads(study.machine, n_values)
    windows = data.windows(study.windows.context_length, device)
    n_parameters = count_parameters(ARCHITECTURE, experiment.shape)
    print(f"{ARCHITECTURE.label}, {n_parameters:,} parameters, on {device}")

    for seed in SEEDS:
        job = TrainingJob(
            architecture=ARCHITECTURE,
            shape=experiment.shape,
            recipe=RECIPE,
            settings=study.training,
            batching=BATCHING,
            seed=seed,
            base_rate=data.base_rate,
            precision=PRECISION,
        )
        result = train(windows, data.split, job)
        model = build_model(job, device)
        model.load_state_dict(result.weights)
        for part in parts:
            rows = data.split.part(part)
            logits = score(model, windows, torch.from_numpy(rows).to(device))
            probabilities = to_probabilities(logits.cpu().numpy())
            labels = data.labels_T[rows]
            loss = float(row_loss(probabilities, labels).mean())
            print(
                f"seed {seed}, epoch {result.best_epoch}, {part}: log-loss {loss:.6f}, "
                f"skill {skill(loss, base_loss(data.base_rate, labels)):+.6f}"
            )
        if arguments.out:
            file = arguments.out / f"{EXPERIMENT}_seed_{seed}.safetensors"
            save_tensors(file, result.weights, {"seed": seed})


if __name__ == "__main__":
    main()
''')
