"""What `nestlab render` writes for every example lab: names and modes of all files, and each node's domain, as in
`tests/golden/labs/`. The texts of the other files are compared in `systems/test_systems_golden.py`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from builder.cli.boundary import guarded
from builder.cli.render import MARKER
from tests.conftest import GOLDEN
from tests.support.repo import ROOT, some

LABS = some(sorted(path.stem for path in (ROOT / "labs").glob("*.yaml")))


def rendered(lab: str, out: Path) -> dict[str, Path]:
    """Every file that is rendered for a lab, by its name below `out`."""
    assert guarded(["render", str(ROOT / f"labs/{lab}.yaml"), "--accelerator", "tcg", "--out", str(out)]) == 0
    found = (path for path in sorted(out.rglob("*")) if path.is_file() and path.name != MARKER)
    return {str(path.relative_to(out)): path for path in some(found)}


@pytest.mark.parametrize("lab", LABS)
def test_rendered_files(lab: str, tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    files = rendered(lab, tmp_path / "out")
    listing = "".join(f"{path.stat().st_mode & 0o777:04o} {name}\n" for name, path in files.items())
    golden(f"labs/{lab}/files.txt", listing)
    domains = [name for name in files if name.endswith("/domain.xml")]
    assert domains
    for name in domains:
        golden(f"labs/{lab}/{name}", files[name].read_text())


def test_no_golden_is_left_over() -> None:
    assert {path.name for path in (GOLDEN / "labs").iterdir()} == set(LABS)
