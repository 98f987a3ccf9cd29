from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence

import pytest
from command_line import COMMAND, CommandLine, fault_of

from finscale.cli.app import HELP_OF, MODULE_OF, commands_of
from finscale.cli.interruption import leaving_at_once


def test_every_command_is_looked_for_where_it_is_registered() -> None:
    registered = {
        name: module for module in dict.fromkeys(MODULE_OF.values()) for name in commands_of(module)
    }
    assert list(registered.items()) == list(MODULE_OF.items())


def test_help_lists_every_command_with_what_it_does(finscale: CommandLine) -> None:
    done = finscale("--help")
    assert done.code == 0
    for name, module in MODULE_OF.items():
        text = commands_of(module)[name].help.partition("\n\n")[0]
        assert HELP_OF[name] == text
        [line] = [line for line in done.out.splitlines() if f" {name} " in f"{line[:18]} "]
        assert " ".join(text.split()[:3]) in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("featuers", "No such command 'featuers'. Did you mean 'features'? See finscale --help"),
        ("data lst", "No such command 'lst'. Did you mean 'list'? See finscale data --help"),
        ("status", "Missing argument 'run_dir'; see finscale status --help"),
        (
            "status run --jsno",
            "No such option: --jsno (Possible options: --json); see finscale status --help",
        ),
        ("run study.yaml --out", "Option '--out' requires an argument"),
    ],
)
def test_what_cannot_be_read_is_answered_in_one_line(
    finscale: CommandLine, arguments: str, message: str
) -> None:
    assert fault_of(finscale(*arguments.split())) == message


@pytest.mark.parametrize("arguments", [(), ("data",)])
def test_commands_of_commands_by_themselves_list_them(
    finscale: CommandLine, arguments: Sequence[str]
) -> None:
    done = finscale(*arguments)
    assert done.code == 2
    assert " download " in done.out + done.err or " fit-law " in done.out + done.err
    assert "finscale: " not in done.err


def test_ctrl_c_is_not_lost_on_a_module_that_swallows_it_while_it_loads() -> None:
    program = (
        "import os, signal, sys\n"
        "from finscale.cli.interruption import leaving_at_once\n"
        "with leaving_at_once():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        print('goes on')\n"
        "    except BaseException:\n"
        "        print('swallowed')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "finscale: interrupted; nothing was begun\n"


def test_ctrl_c_is_an_exception_again_when_all_is_loaded() -> None:
    before = signal.getsignal(signal.SIGINT)
    with leaving_at_once():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    "arguments",
    [["--version"], ["--help"], ["data", "list"], ["features", "list"], ["features", "--help"]],
)
def test_commands_that_need_no_torch_do_not_load_it(arguments: Sequence[str]) -> None:
    program = (
        "import sys\n"
        f"sys.argv = ['finscale', *{arguments!r}]\n"
        "from finscale.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as left:\n    assert not left.code, left.code\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


@pytest.mark.parametrize("arguments", [["features", "list"], ["features", "--help"]])
def test_a_reader_that_goes_away_is_no_error(arguments: Sequence[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    finished = subprocess.run(
        [*COMMAND, *arguments], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert (finished.returncode, finished.stderr) == (0, "")
