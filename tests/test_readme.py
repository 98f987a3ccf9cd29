"""The README's Python, run as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import finscale
from finscale.study import Study
from tiny import tiny_study

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_python_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    snippet = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)[-1]
    read: list[tuple[str, list[str]]] = []

    def small_study(path: str, overrides: list[str]) -> Study:
        """Stand in for the quickstart, which takes minutes."""
        read.append((path, overrides))
        return tiny_study()

    monkeypatch.setattr(finscale, "load_study", small_study, raising=False)
    monkeypatch.chdir(tmp_path)
    exec(snippet, {})  # noqa: S102 - our own README
    assert read == [("studies/quickstart.yaml", ["horizons=[1]"])]
    assert (tmp_path / "runs/mine/report.html").is_file()
    printed = capsys.readouterr().out
    assert "Too few points" in printed
    assert "constant" in printed or "power law" in printed
