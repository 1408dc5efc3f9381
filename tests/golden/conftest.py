"""What golden tests of several files share."""

from __future__ import annotations

import pytest

from tests.golden.recordings import Recording


@pytest.fixture(params=["plain", "low_rank"])
def second_pass(request, monkeypatch) -> dict:
    """Both forms of PEPITA's second pass; the small nets of the recordings would not choose the low-rank one."""
    monkeypatch.setattr("credit.methods.modulation.passes.pays", lambda net, batch_size: True)
    return {"low_rank": request.param == "low_rank"}


@pytest.fixture
def data(request) -> Recording:
    """Arrays of a recording."""
    return request.param if isinstance(request.param, Recording) else Recording(request.param)
