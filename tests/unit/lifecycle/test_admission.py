"""Whether there is memory for what is to be started. The host's free memory is a file here."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.errors import HostLacks
from builder.lifecycle.nodes import admit
from builder.lifecycle.plan import QEMU_OVERHEAD as OVERHEAD
from builder.lifecycle.plan import plan_lab
from builder.model.load import parse_lab
from builder.systems import load_system, traits

PLAN = plan_lab(
    parse_lab(b"name: lab\nnodes: {a: {system: tiny, memory: 1GiB}, b: {system: tiny, memory: 2GiB}}", traits()).lab,
    load_system,
)


def meminfo(folder: Path, free: int) -> Path:
    path = folder / "meminfo"
    path.write_text(f"MemTotal:       99999999 kB\nMemAvailable:   {free >> 10} kB\n")
    return path


def fits(names: list[str], path: Path) -> bool:
    try:
        admit(PLAN, names, path)
    except HostLacks:
        return False
    return True


def test_what_fits_is_started(tmp_path: Path) -> None:
    assert fits(["a", "b"], meminfo(tmp_path, (3 << 30) + 2 * OVERHEAD))
    assert not fits(["a", "b"], meminfo(tmp_path, (3 << 30) + 2 * OVERHEAD - (1 << 20)))
    assert fits([], meminfo(tmp_path, 0))


def test_what_does_not_fit_is_refused_with_both_figures(tmp_path: Path) -> None:
    with pytest.raises(HostLacks, match=r"starting a, b takes 3472 MiB .* has 3471 MiB free") as caught:
        admit(PLAN, ["a", "b"], meminfo(tmp_path, (3471 << 20)))
    assert caught.value.exit_code == 3
    assert "nestlab ls" in str(caught.value.hint)
    admit(PLAN, ["a"], meminfo(tmp_path, (3471 << 20)))
