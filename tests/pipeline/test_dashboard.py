"""optuna-dashboard reads a run's storage."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from finscale.rundir import RunDirectory
from tiny import NAMES

dashboard = pytest.importorskip(
    "optuna_dashboard", reason="needs the extra dashboard: pip install 'finscale[dashboard]'"
)


def get(app: Any, path: str) -> Any:
    """Ask the application as a web server would, and return the JSON of its answer."""
    environment = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
        "wsgi.url_scheme": "http",
    }
    statuses: list[str] = []

    def start_response(status: str, _headers: Any, _error: Any = None) -> None:
        statuses.append(status)

    body = b"".join(app(environment, start_response))
    assert statuses == ["200 OK"], body
    return json.loads(body)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_searches_of_a_run_are_there_with_their_trials(copied: RunDirectory) -> None:
    # The URL that finscale status prints.
    app = dashboard.wsgi(f"sqlite:///{copied.storage.resolve()}")
    studies = get(app, "/api/studies")["study_summaries"]
    assert [one["study_name"].split("@")[0] for one in studies] == list(NAMES)
    for one in studies:
        trials = get(app, f"/api/studies/{one['study_id']}")["trials"]
        values = [trial["values"][0] for trial in trials if trial["state"] == "Complete"]
        assert len(trials) == 4
        name = one["study_name"].split("@")[0]
        best = json.loads(copied.experiment(name).best.read_text())
        assert min(values) == best["validation_loss"]
