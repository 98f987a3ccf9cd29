from __future__ import annotations

from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """On a busy machine, OpenMP's threads spend their time waiting for each other."""
    with threadpool_limits(1):
        yield
