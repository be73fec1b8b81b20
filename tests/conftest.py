"""Options and fixtures of every test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--regenerate-golden",
        action="store_true",
        help="write what is rendered now to tests/golden; read the diff before committing it",
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden("kvm/name.xml", text)`: the text is what tests/golden/kvm/name.xml holds. A missing file fails."""
    regenerate = bool(request.config.getoption("--regenerate-golden"))

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if regenerate:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            return
        assert path.is_file(), f"{path} is missing; pytest --regenerate-golden writes it"
        assert text == path.read_text(), f"{name} changed; if it is meant: pytest --regenerate-golden, read the diff"

    return check
