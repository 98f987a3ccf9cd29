from __future__ import annotations

from pathlib import Path

import pytest

from finscale.errors import StudyError
from finscale.study import Study
from finscale.study_file import load_study


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    return tmp_path / "my.yaml"


def load(path: Path, text: str, *overrides: str) -> Study:
    path.write_text(text, encoding="utf-8")
    return load_study(path, overrides)


def refusal(path: Path, text: str, *overrides: str) -> str:
    with pytest.raises(StudyError) as caught:
        load(path, text, *overrides)
    return str(caught.value).replace(str(path), "my.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("5E-05", 5e-5), ("1.5e+0", 1.5), (".5", 0.5), ("2", 2.0), ("+1e1", 10.0)],
)
def test_numbers_are_floats_as_people_write_them(study_file: Path, text: str, value: float) -> None:
    study = load(study_file, f"name: a\nwindows:\n  clip: {text}\n")
    assert study.windows.clip == value
    assert isinstance(study.windows.clip, float)


def test_all_bad_settings_are_named_at_once(study_file: Path) -> None:
    message = refusal(
        study_file,
        """
        name: a/b
        seed: "5"
        horizons: [1, 0, 2.0, true]
        features: {tier: a26}
        split: {by: date, train_end: 2012-01-01, validation_end: 2011-01-01}
        windows: {clip: .inf, file: x}
        ladder: {budgets: [2M, 2m, "0.5M"]}
        search: {n_trails: 5, space: {learning_rate: {low: 1, high: 0.1}, dropout: []}}
        final: {n_seeds: 2}
        """,
    )
    first, *lines = message.splitlines()
    assert first == "my.yaml: 15 settings are wrong"
    assert [line.strip() for line in lines] == [
        "name: got 'a/b'; use letters, digits, '_', '-' and '.' (it names the run directory)",
        "seed: got '5'; input should be a valid integer",
        "features.tier: got 'a26'; input should be 'a25', 'a50', 'a100', 'a200' or 'a500'",
        "horizons.1: got 0; input should be greater than 0",
        "horizons.2: got 2.0; input should be a valid integer",
        "horizons.3: got True; input should be a valid integer",
        "split: train_end must be before validation_end",
        "windows.clip: got inf; input should be a finite number",
        "windows.file: unknown setting; allowed here: clip, context_length, scaling",
        "ladder.budgets.1: got '2m'; write a budget as 5K, 1.5M, 2B or 1500",
        "ladder.budgets.2: got '0.5M'; write a budget as 5K, 1.5M, 2B or 1500",
        "search.space.learning_rate: low must not be above high",
        "search.space.dropout: got []; tuple should have at least 1 item after validation, not 0",
        (
            "search.n_trails: unknown setting; did you mean 'n_trials'? allowed here: "
            "extremes_first, n_startup_trials, n_trials, prune_after_epochs, prune_after_frac, "
            "pruner, random_share, sampler, space"
        ),
        "final.n_seeds: got 2; input should be greater than or equal to 3",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1", "my.yaml: name: missing; it must be given"),
        (
            "name: a\nnmae: b",
            "my.yaml: nmae: unknown setting; did you mean 'name'? allowed here: baselines, data, ",
        ),
        (
            "name: a\ndata: {symbol: QQQ}",
            "my.yaml: data.symbols.0: got 'QQQ'; input should be 'SP500' or 'NASDAQ'",
        ),
        (
            "name: a\ndata: {source: catalog}",
            "my.yaml: data.symbols: missing; it must be given",
        ),
        (
            "name: a\ndata: {source: yahoo}",
            "my.yaml: data.source: got 'yahoo'; choose one of 'bundled', 'file', 'catalog'",
        ),
        ("name: a\ndata: {source: file}", "my.yaml: data.path: missing; it must be given"),
        (
            "name: a\ndata: {source: bundled, path: x}",
            "my.yaml: data.path: unknown setting; allowed here: calendar, catalog, context, da",
        ),
        ("name: a\nsplit: {by: week}", "my.yaml: split.by: got 'week'; choose one of 'date', 'fr"),
        (
            "name: a\nsplit: {by: fraction, train_frac: 0.8, validation_frac: 0.2}",
            "my.yaml: split: train_frac + validation_frac must leave a test part (sum below 1)",
        ),
        (
            "name: a\nsplit: {by: date, train_end: 2011-12-31, validation_end: Dec 2014}",
            "my.yaml: split.validation_end: got 'Dec 2014'; input should be a valid date",
        ),
        ("name: a\nhorizons: [1, 1]", "my.yaml: study: horizons: the same value stands twice"),
        ("name: a\nladder: {budgets: [2M, 2M]}", "my.yaml: study: ladder.budgets: the same value"),
        ("name: a\ntasks: [direction, direction]", "my.yaml: study: tasks: the same value stands"),
        (
            "name: a\nbaselines: [logistic_all]",
            "my.yaml: study: baselines: base_rate must be among them, skill is measured from it",
        ),
        ("name: a\nladder:", "my.yaml: ladder: got None; input should be an object"),
        ("name: a\ntasks: [up]", "my.yaml: tasks.0: got 'up'; input should be 'threshold_0.5pct'"),
        ("name: a\nname: b", "my.yaml: not valid YAML (line 2: key 'name' stands twice; remove"),
        (
            "name: a\nwindows:\n  clip: 1\n  clip: 1",
            "my.yaml: not valid YAML (line 4: key 'clip' stands twice; remove one)",
        ),
        ("name: a\n2018-01-01: x", "my.yaml: not valid YAML (line 2: key datetime.date(2018, 1, "),
        ("name: a\n? [a, b]\n: x", "my.yaml: not valid YAML (line 2: key ['a', 'b'] is not a nam"),
        ("name: a\ntasks: &a [*a]", "my.yaml: a YAML anchor holds itself; write the value out"),
        (
            "name: a\nladder:\n  budgets: [1K\n  grid: 3",
            "my.yaml: not valid YAML (line 4: expected ',' or ']', but got ':', while parsing a f",
        ),
        ("name: a\nb: c: d", "my.yaml: not valid YAML (line 2: mapping values are not allowed"),
        ("name: [a\n\n", "my.yaml: not valid YAML (line 3: expected ',' or ']', but got '<stream"),
        (
            "name: a\nb: 'c\n",
            "my.yaml: not valid YAML (line 3: found unexpected end of stream, whi",
        ),
        ("name: a\nb: \1", "my.yaml: not valid YAML (line 2: special characters are not allowed)"),
        ("name: !!python/object:os.system x", "my.yaml: not valid YAML (line 1: could not determ"),
        ("", "my.yaml: holds no settings; see studies/quickstart.yaml for an example"),
        ("- a\n- b", "my.yaml: holds no settings; see studies/quickstart.yaml for an example"),
        (
            "name: a\ndata: {source: file, path: ~nobody-of-that-name/x.csv}",
            "data.path: got '~nobody-of-that-name/x.csv'; no such home directory",
        ),
    ],
)
def test_one_bad_setting_is_one_line(study_file: Path, text: str, message: str) -> None:
    found = refusal(study_file, text)
    assert found.startswith(message)
    assert "\n" not in found


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"none\.yaml: no such file; give a study file"):
        load_study(tmp_path / "none.yaml")
    with pytest.raises(StudyError, match="not a text file; give a study file"):
        load_study(tmp_path)
    (tmp_path / "bytes.yaml").write_bytes(b"name: \xff")
    with pytest.raises(StudyError, match="not a text file; give a study file"):
        load_study(tmp_path / "bytes.yaml")


def test_anchors_are_copied_and_merged(study_file: Path) -> None:
    text = """
        name: a
        search:
          space:
            learning_rate: &range {low: 0.1, high: 0.2}
            weight_decay: {<<: *range, high: 0.3}
        """
    study = load(study_file, text, "search.space.learning_rate.low=0.05")
    assert study.search.space.learning_rate.low == 0.05
    assert study.search.space.weight_decay.model_dump() == {"low": 0.1, "high": 0.3}
    shared = text.replace("{<<: *range, high: 0.3}", "*range")
    study = load(study_file, shared, "search.space.learning_rate.low=0.05")
    assert study.search.space.weight_decay.low == 0.1


def test_overrides_are_yaml_over_the_file(study_file: Path) -> None:
    study = load(
        study_file,
        "name: a\nsearch: {n_trials: 9}\nladder:\n",
        "search.n_trials=5",
        "search.space.learning_rate={low: 1e-5, high: 1e-3}",
        "search.space.learning_rate.low=2e-5",
        "horizons=[2, 4]",
        "ladder.budgets=[5K]",
        "ladder.grid=null",
        "name = b",
    )
    assert study.search.n_trials == 5
    assert study.search.space.learning_rate.low == 2e-5
    assert study.search.space.learning_rate.high == 1e-3
    assert study.horizons == (2, 4)
    assert study.ladder.budgets == ("5K",)
    assert study.name == "b"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "--set seed: write it as a.b=value, e.g. search.n_trials=5"),
        ("=5", "--set =5: write it as a.b=value, e.g. search.n_trials=5"),
        ("search..x=5", "--set search..x=5: write it as a.b=value, e.g. search.n_trials=5"),
        ("seed=[1", "--set seed=[1: the value is not valid YAML"),
        ("name.x=1", "--set name.x=1: name is a value, it has no setting below it"),
        ("seed='7'", "my.yaml: seed: got '7'; input should be a valid integer"),
        ("search.n_trial=5", "my.yaml: search.n_trial: unknown setting; did you mean 'n_trials'? "),
    ],
)
def test_a_bad_override_is_refused(study_file: Path, override: str, message: str) -> None:
    assert refusal(study_file, "name: a\n", override).startswith(message)


def test_bad_overrides_are_named_with_everything_else(study_file: Path) -> None:
    message = refusal(study_file, "name: a\nseed: x\n", "nonsense", "seed=[1", "search.n_trials=0")
    assert message.splitlines() == [
        "my.yaml: 4 settings are wrong",
        "  --set nonsense: write it as a.b=value, e.g. search.n_trials=5",
        "  --set seed=[1: the value is not valid YAML",
        "  seed: got 'x'; input should be a valid integer",
        "  search.n_trials: got 0; input should be greater than 0",
    ]


@pytest.mark.parametrize(
    ("in_file", "override", "expected"),
    [
        ("spy.csv", None, "{studies}/spy.csv"),
        ("../raw/spy.csv", None, "{studies}/../raw/spy.csv"),
        ("/data/spy.csv", None, "/data/spy.csv"),
        ("~/spy.csv", None, "{home}/spy.csv"),
        ("spy.csv", "other.csv", "{cwd}/other.csv"),
        ("spy.csv", "/data/other.csv", "/data/other.csv"),
    ],
)
def test_a_data_path_is_relative_to_where_it_was_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    in_file: str,
    override: str | None,
    expected: str,
) -> None:
    places = {name: tmp_path / name for name in ("studies", "cwd", "home")}
    for place in places.values():
        place.mkdir()
    monkeypatch.chdir(places["cwd"])
    monkeypatch.setenv("HOME", str(places["home"]))
    (places["studies"] / "s.yaml").write_text(f"name: a\ndata: {{source: file, path: {in_file}}}\n")
    overrides = [f"data.path={override}"] if override else []
    study = load_study(Path("../studies/s.yaml"), overrides)
    assert study.data.model_dump(mode="json")["path"] == expected.format(**places)
