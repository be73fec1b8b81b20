"""Which tests of real hosts share one: those of a file, or of a folder. They run side by side with the others only."""

from __future__ import annotations

from pathlib import Path

import pytest

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.xdist_group(item.path.relative_to(_HERE).parts[0]))
