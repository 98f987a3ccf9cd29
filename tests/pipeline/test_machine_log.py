from __future__ import annotations

from pathlib import Path

from finscale.machine.sampler import _COLUMNS
from finscale.pipeline.machine_log import last_reading

HEADER = "time,interval_s,cpu_frac,gpu_name\n"


def test_the_newest_whole_line_of_all_logs(tmp_path: Path) -> None:
    one, other = tmp_path / "machine_a.csv", tmp_path / "machine_b.csv"
    one.write_text(
        HEADER
        + "2026-01-01T00:00:10+00:00,10.0,0.5,\n"
        + '2026-01-01T00:00:20+00:00,10.0,0.25,"A, B"\n'
        + "2026-01-01T00:00:30+00:00,1"
    )
    other.write_text(HEADER + "2026-01-01T00:00:15+00:00,10.0,0.75,\n")
    assert last_reading([one, other, tmp_path / "gone.csv"]) == {
        "time": "2026-01-01T00:00:20+00:00",
        "interval_s": 10.0,
        "cpu_frac": 0.25,
        "gpu_name": "A, B",
        "log": "machine_a.csv",
    }


def test_what_was_not_measured_is_none(tmp_path: Path) -> None:
    log = tmp_path / "machine.csv"
    log.write_text(HEADER + "2026-01-01T00:00:10+00:00,10.0,,\n")
    reading = last_reading([log])
    assert reading is not None
    assert (reading["cpu_frac"], reading["gpu_name"]) == (None, None)


def test_a_long_log_is_read_from_its_end(tmp_path: Path) -> None:
    log = tmp_path / "machine.csv"
    lines = [
        f"2026-01-01T{n // 3600:02d}:{n // 60 % 60:02d}:{n % 60:02d}+00:00,1.0,0.5,\n"
        for n in range(5000)
    ]
    log.write_text(HEADER + "".join(lines))
    reading = last_reading([log])
    assert reading is not None
    assert reading["time"] == "2026-01-01T01:23:19+00:00"


def test_nothing_is_read_of_nothing(tmp_path: Path) -> None:
    empty, begun = tmp_path / "empty.csv", tmp_path / "begun.csv"
    empty.touch()
    begun.write_text(HEADER)
    assert last_reading([empty, begun]) is None
    assert last_reading([]) is None


def test_the_columns_are_those_of_the_sampler() -> None:
    assert {"time", "gpu_name", "cpu_frac", "memory_used_frac"} <= set(_COLUMNS)
