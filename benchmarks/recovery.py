"""Whether the law that was planted in a simulated market is found again, and what was lost.

python benchmarks/recovery.py studies/planted.yaml RUN      run it (or go on), and record it
python benchmarks/recovery.py studies/simulated.yaml RUN

RUN is the run directory. Recorded, in docs/measured/recovery_NAME.json, are the verdict on the
labels of the test part, the verdict on the losses to be expected by the true probabilities, and the
regret of every model against the best possible forecast.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finscale.files import read_json, write_text_atomic
from finscale.pipeline.run import run_study
from finscale.rundir import RunDirectory
from finscale.scaling.laws import PowerLaw, PowerLawWithFloor
from finscale.study_file import load_study

MEASURED = Path(__file__).parents[1] / "docs" / "measured"


def law_found(verdict: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a verdict says of size: its kind, and both power laws with their alphas."""
    intervals = {one["law"]: one for one in verdict["intervals"]}
    laws = {
        law.name: {
            "delta_aicc_to_best": verdict["comparison"]["delta_aicc"][law.name],
            "alpha": intervals[law.name]["alpha"],
        }
        for law in (PowerLaw, PowerLawWithFloor)
        if law.name in intervals
    }
    return {
        "kind": verdict["kind"],
        "sentence": verdict["sentence"].split("; ")[0].rstrip(".") + ".",
        "delta_aicc": verdict["delta_aicc"],
        "loss_difference": verdict["intervals"][-1]["loss_difference"],
        "laws": laws,
    }


def recovery(directory: RunDirectory) -> dict[str, Any]:
    """Return what a finished run found, beside the truth."""
    [(cell, truth)] = read_json(directory.summary)["truth"].items()
    judged = read_json(directory.scaling)["cells"][cell]
    canary = read_json(directory.data)["cells"][cell]["canary"]
    budgets = {point["budget"]: point["n_parameters"] for point in judged["points"]}
    found, expected = law_found(judged["test"]), law_found(truth["planted"]["verdict"])
    covered = {}
    has_law = "no_evidence" not in (found["kind"], expected["kind"])
    for name, law in found["laws"].items() if has_law else ():
        interval, true_alpha = law["alpha"], expected["laws"][name]["alpha"]["estimate"]
        covered[name] = bool(interval["low"] <= true_alpha <= interval["high"])
    return {
        "canary_alarm": canary["alarm"],
        "canary_strongest": canary["strongest"],
        "n_parameters": budgets,
        "best_possible": truth["best_possible"],
        "regrets": {model: parts["test"] for model, parts in truth["regrets"].items()},
        "on_labels": found,
        "by_truth": expected,
        "agreement": truth["planted"]["agreement"],
        "sentence": truth["planted"]["sentence"],
        "alpha_of_truth_in_interval": covered,
    }


def main() -> None:
    """Run the study and record what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="such as studies/planted.yaml")
    parser.add_argument("run", type=Path, metavar="RUN", help="the run directory")
    options = parser.parse_args()
    study = load_study(options.study)
    outcome = run_study(study, options.run)
    document = {
        "command": f"python benchmarks/recovery.py studies/{options.study.name} RUN",
        "machine": platform.machine(),
        **recovery(outcome.directory),
    }
    text = json.dumps(document, indent=1) + "\n"
    write_text_atomic(MEASURED / f"recovery_{study.name}.json", text)
    print(document["on_labels"]["sentence"], document["sentence"], sep="\n")


if __name__ == "__main__":
    main()
