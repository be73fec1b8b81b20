"""Every example lab, with everything that is rendered for it, is compared with `tests/golden/labs/LAB/NODE/`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from builder.cli.boundary import guarded
from builder.cli.render import MARKER
from tests.conftest import GOLDEN
from tests.support.repo import ROOT, some

LABS = sorted(path.stem for path in (ROOT / "labs").glob("*.yaml"))


@pytest.mark.parametrize("lab", LABS)
def test_rendered_files(lab: str, tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    out = tmp_path / "out"
    assert guarded(["render", str(ROOT / f"labs/{lab}.yaml"), "--accelerator", "tcg", "--out", str(out)]) == 0
    files = some(path for path in sorted(out.rglob("*")) if path.is_file() and path.name != MARKER)
    for path in files:
        golden(f"labs/{lab}/{path.relative_to(out)}", path.read_text())
    kept = {
        str(path.relative_to(GOLDEN / "labs" / lab)) for path in (GOLDEN / "labs" / lab).rglob("*") if path.is_file()
    }
    assert kept == {str(path.relative_to(out)) for path in files}, "a golden file is left over"


def test_no_golden_of_a_lab_that_is_gone() -> None:
    assert {path.name for path in (GOLDEN / "labs").iterdir()} == set(LABS)
