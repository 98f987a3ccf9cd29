from __future__ import annotations

from typing import get_args

import pytest

from finscale.pipeline.evidence import DATES_PER_YEAR
from finscale.study_data import TimeScale


def test_every_time_scale_has_a_year() -> None:
    assert set(DATES_PER_YEAR) == set(get_args(TimeScale))
    assert DATES_PER_YEAR["5d"] == pytest.approx(50.4)
