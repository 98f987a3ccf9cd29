"""What the quickstart's evidence is at horizons 1, 3 and 5.

python benchmarks/quickstart_evidence.py RUN      run it (or go on), and record it

RUN is the run directory; it takes some twenty minutes. Recorded, in docs/measured/quickstart.json,
are the verdict and for every model skill with its interval, for every horizon the tests of superior
predictive ability, the model confidence set, and the winners' skill walked forward.
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
from finscale.study_file import load_study

ROOT = Path(__file__).parents[1]
MEASURED = ROOT / "docs" / "measured" / "quickstart.json"


CHANGES = ["horizons=[1, 3, 5]", "evidence.walk_forward_blocks=3"]


def horizon_evidence(evidence: Mapping[str, Any], judged: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is shown of one horizon."""
    models = [*evidence["budgets"], *evidence["baselines"]]
    return {
        "n_rows": evidence["n_rows"],
        "mean_block": evidence["mean_block"],
        "n_samples": evidence["n_samples"],
        "budgets": list(evidence["budgets"]),
        "models": {
            model: {
                "skill": evidence["scores"][model]["skill"],
                "skill_over_volatility": evidence["scores"][model]["skill_vs_benchmark"],
                "in_confidence_set": model in evidence["confidence_set"]["included"],
            }
            for model in models
        },
        "superior_ability": {
            one["benchmark"]: one["p_value"] for one in evidence["superior_ability"]
        },
        "correction": evidence["correction"]["statement"],
        "walk_forward": walked(evidence["walk_forward"]),
        "kind": judged["test"]["kind"],
        "sentence": judged["test"]["sentence"],
        "tuned": {name: one["tuned"] for name, one in judged["effort"]["budgets"].items()},
    }


def walked(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the blocks that the winners were walked through, and the skill of each model there."""
    blocks = next(iter(found.values()))["blocks"]
    return {
        "blocks": [[block["first"], block["last"]] for block in blocks],
        "skills": {budget: one["summary"]["skills"] for budget, one in found.items()}
        | {
            name: [1.0 - block["baselines"][name] / block["base_loss"] for block in blocks]
            for name in blocks[0]["baselines"]
        },
    }


def main() -> None:
    """Run the quickstart at three horizons, and record its evidence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, metavar="RUN", help="the run directory")
    directory = RunDirectory(parser.parse_args().run)
    run_study(load_study(ROOT / "studies" / "quickstart.yaml", CHANGES), directory.root)
    scaling = read_json(directory.scaling)["cells"]
    found = {
        cell: horizon_evidence(evidence, scaling[cell])
        for cell, evidence in read_json(directory.evidence).items()
    }
    ordered = dict(sorted(found.items(), key=lambda item: int(item[0][1 : item[0].index("_")])))
    environment = read_json(directory.environment)
    content = {
        "command": "python benchmarks/quickstart_evidence.py RUN",
        "code": environment["code_hash"][:12],
        "python": platform.python_version(),
        "cells": ordered,
    }
    write_text_atomic(MEASURED, json.dumps(content, indent=1) + "\n")
    for cell, one in ordered.items():
        print(cell, one["sentence"])


if __name__ == "__main__":
    main()
