"""The host of labs/debian-dom0.yaml, brought up once for all files here: that takes half a minute under emulation."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.lab import ROOT, Bench, bench

LAB = ROOT / "labs/debian-dom0.yaml"
NAME = "debian-dom0"


@pytest.fixture(scope="package")
def here() -> Iterator[Bench]:
    with bench() as made:
        made.run("up", LAB, timeout=900, check=True)
        yield made
