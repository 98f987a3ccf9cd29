"""The commands of the runbook, run in order on a study of a few seconds."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from finscale.cli.app import MODULE_OF, commands_of
from tiny import write_study

RUNBOOK = (Path(__file__).parents[1] / "docs" / "runbook.md").read_text(encoding="utf-8")
# Short enough to be run again and again; LONG is what is stopped, however slow the machine is.
STUDY: dict[str, Any] = {
    "search.n_trials": 4,
    "search.space.epochs": [20],
    "training.patience": 20,
    "split": {"by": "fraction", "train_frac": 0.4, "validation_frac": 0.1},
    "baselines": ["base_rate"],
}
LONG = STUDY | {"search.n_trials": 1000}
PAST = """experiment,budget,task,horizon,status,val_loss,d_model,n_layers,n_heads,d_ff
hpo_2M_h1_threshold_1pct,2M,threshold_1pct,1,success,0.3791,64,32,2,256
"""
_MARK = "@@ command {} ended with {}"


def commands() -> list[tuple[str, list[str]]]:
    """Return every command of the console blocks, each with what it is said to print."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", RUNBOOK, flags=re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line.removeprefix("$ "), []))
            else:
                found[-1][1].append(line)
    return found


@pytest.mark.slow
@pytest.mark.timeout(2000)
def test_the_commands_of_the_runbook_do_what_it_says(tmp_path: Path) -> None:
    write_study(tmp_path, STUDY).rename(tmp_path / "short.yaml")
    write_study(tmp_path, LONG).rename(tmp_path / "study.yaml")
    (tmp_path / "past").mkdir()
    (tmp_path / "past" / "experiment_results.csv").write_text(PAST, encoding="utf-8")
    program = tmp_path / "bin" / "finscale"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m finscale.cli.main "$@"\n')
    program.chmod(0o755)
    script = []
    for number, (command, _) in enumerate(commands()):
        script += [command, f'echo "{_MARK.format(number, "$?")}"']
        if command.startswith("wait "):
            # Fewer trials are no other study: what is done stays done.
            script.append("mv short.yaml study.yaml")
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1900,
        check=False,
    )
    rest = done.stdout
    for number, (command, expected) in enumerate(commands()):
        printed, mark, rest = rest.partition(_MARK.format(number, 0) + "\n")
        assert mark, f"{command}\n{printed}"
        assert "Traceback" not in printed, f"{command}\n{printed}"
        for line in expected:
            assert line in printed, f"{command}\n{printed}"


def finscale_commands(line: str) -> Iterator[list[str]]:
    """Yield the words of every finscale command in a line of shell."""
    words = shlex.shlex(line, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    command: list[str] | None = None
    for word in [*words, ";"]:
        if command is not None and set(word) <= set(";&|<>()"):
            yield command
            command = None
        elif command is not None:
            command.append(word)
        elif word == "finscale":
            command = []
        elif word.startswith("finscale "):
            yield from finscale_commands(word)


def test_every_finscale_command_of_the_runbook_is_one() -> None:
    """Check those that need a cluster, too, by the parser alone."""
    blocks = re.findall(r"```sh\n(.*?)```", RUNBOOK, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += [command for command, _ in commands()]
    lines += re.findall(r"`(finscale [^`]+)`", RUNBOOK)
    found = [command for line in lines for command in finscale_commands(line)]
    for name, *arguments in found:
        assert name in MODULE_OF
        # A name by itself is that of a command whose arguments stand elsewhere.
        if arguments:
            commands_of(MODULE_OF[name])[name].make_context(name, list(arguments))
    assert ["worker", "/shared/week"] in found
    assert len(found) > 15


def test_every_link_of_the_runbook_leads_somewhere() -> None:
    headings = re.findall(r"^#+ (.*)$", RUNBOOK, flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}
    for target in re.findall(r"\]\(#([^)]+)\)", RUNBOOK):
        assert target in anchors
    for test in re.findall(r"`(tests/[\w/]+\.py)`", RUNBOOK):
        assert (Path(__file__).parents[1] / test).is_file()
