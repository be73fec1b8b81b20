"""Whether there is memory for what is to be started."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.errors import HostLacks
from builder.lifecycle.doctor_room import available_memory
from builder.lifecycle.nodes import admit
from builder.lifecycle.plan import QEMU_OVERHEAD as OVERHEAD
from builder.lifecycle.plan import plan_lab
from builder.model.load import parse_lab
from builder.systems import load_system, traits
from tests.unit.lifecycle.fake_host import GONE, host

PLAN = plan_lab(
    parse_lab(b"name: lab\nnodes: {a: {system: tiny, memory: 1GiB}, b: {system: tiny, memory: 2GiB}}", traits()).lab,
    load_system,
)


def fits(names: list[str], available: int) -> bool:
    try:
        admit(PLAN, names, available)
    except HostLacks:
        return False
    return True


def test_what_fits_is_started() -> None:
    assert fits(["a", "b"], (3 << 30) + 2 * OVERHEAD)
    assert not fits(["a", "b"], (3 << 30) + 2 * OVERHEAD - (1 << 20))
    assert fits([], 0)


def test_what_does_not_fit_is_refused_with_both_figures() -> None:
    with pytest.raises(HostLacks, match=r"starting a, b takes 3472 MiB .* has 3471 MiB free") as caught:
        admit(PLAN, ["a", "b"], 3471 << 20)
    assert caught.value.exit_code == 3
    assert "nestlab ls" in str(caught.value.hint)
    admit(PLAN, ["a"], 3471 << 20)


def test_a_host_that_does_not_tell_refuses_nothing(tmp_path: Path) -> None:
    unknown = available_memory(host(tmp_path, {"/proc/meminfo": GONE}))
    assert unknown is None
    admit(PLAN, ["a", "b"], unknown)


def test_the_limit_of_a_container_counts(tmp_path: Path) -> None:
    limits = {"/sys/fs/cgroup/memory.max": str(3 << 30), "/sys/fs/cgroup/memory.current": str(1 << 30)}
    assert available_memory(host(tmp_path, limits)) == 2 << 30
