from __future__ import annotations

from finscale.report import tables
from finscale.report.numbers import number, signed


def test_skill_table_has_the_numbers_of_the_summary(run):
    summary = run.summary
    (table,) = tables.skill_tables(summary)

    assert table.task == "threshold_1pct"
    assert table.horizons == ("h1", "h3", "h5")
    rows = {row.model: row for row in table.rows}
    assert "base rate" not in rows
    for place, cell in enumerate(summary["cells"]):
        for label, budget in cell["budgets"].items():
            shown = rows[f"{label} transformer"].skills[place]
            if budget["seed_mean"] is None:
                assert (shown.test, shown.why) == ("–", budget["status"])
                continue
            mark = "†" if budget["collapsed"] else ""
            value = budget["seed_mean"]["test"]["skill"]
            assert shown.test == f"{value:+.3f}".replace("-", "−") + mark
        for name, scores in cell["baselines"].items():
            if name != "base_rate":
                shown = rows[name.replace("_", " ")].skills[place]
                assert shown.validation == f"{scores['validation']['skill']:+.3f}"
    assert rows["20K transformer"].skills[1].test.endswith("†")
    assert rows["10M transformer"].parameters == "9.87M"


def test_bold_follows_validation_not_test(run):
    summary = run.summary
    cell = summary["cells"][0]
    cell["budgets"]["5K"]["seed_mean"]["test"]["log_loss"] = 0.01
    cell["budgets"]["5K"]["seed_mean"]["validation"]["log_loss"] = 9.0
    cell["baselines"]["logistic_all"]["validation"]["log_loss"] = 0.02

    (table,) = tables.skill_tables(summary)

    assert [row.model for row in table.rows if row.skills[0].best] == ["logistic all"]


def test_rows_are_as_long_as_their_header(run):
    summary = run.summary
    made = [tables.parts_table(summary), tables.identity_table(run.records)]
    made.append(tables.final_table(summary))
    for cell in summary["cells"]:
        made += [tables.score_table(cell), tables.winner_table(cell)]
        made.append(tables.law_table(run.scaling[cell["cell"]]))

    for table in made:
        assert table.rows
        assert {len(row) for row in table.rows} == {len(table.header)}


def test_score_table_shows_both_summaries_of_the_seeds(run):
    cell = run.summary["cells"][0]
    rows = {row[0]: row[1:] for row in tables.score_table(cell).rows}
    budget = cell["budgets"]["10M"]

    mean, average = rows["10M, mean of 3 seeds"], rows["10M, averaged forecast"]
    assert mean[4] == f"{budget['seed_mean']['test']['skill']:+.3f}"
    assert average[4] == f"{budget['seed_average']['test']['skill']:+.3f}"
    skills = [seed["test"]["skill"] for seed in budget["seeds"]]
    assert mean[5] == f"{min(skills):+.3f} … {max(skills):+.3f}"
    assert "2 recipes scored on test" in rows["2M, mean of 3 seeds"][-1]
    # The base rate is the yardstick: that it has no resolution is no finding.
    assert rows["base rate"][-1] == ""


def test_identities_are_listed_apart(run):
    changed = run.records[-1]
    other = changed.identity.model_copy(update={"grid": "9" * 64})
    records = [*run.records, changed.model_copy(update={"identity": other, "uid": "x"})]

    table = tables.identity_table(records)

    rows = [row for row in table.rows if row[0] == changed.experiment]
    assert len(rows) == 2
    assert rows[1] == (*rows[0][:3], "9" * 12, *rows[0][4:6], "1")
    assert sum(int(row[-1]) for row in table.rows) == len(records)


def test_every_final_run_is_traced_to_its_record(run):
    table = tables.final_table(run.summary)
    uids = {record.uid for record in run.records}

    # 16 experiments of three seeds; the runs of the recipe that was replaced are not among them.
    assert len(table.rows) == 48
    assert all(row[1] in uids and "-old" not in row[1] for row in table.rows)


def test_undefined_numbers_are_dashes():
    assert number(None) == "–"
    assert signed(None) == "–"
    assert signed(-0.25) == "−0.250"
    assert (signed(-0.0001), number(-0.0001)) == ("+0.000", "0.000")
    assert number(-0.5, digits=1) == "−0.5"
