"""What every system's phases have in common."""

from __future__ import annotations

import re

import pytest

from builder.systems import load_system
from tests.support.injection import cases


@pytest.mark.parametrize("system", ["rhel", "suse", "xcpng"])
def test_grubs_greeting_is_not_the_hosts(system: str) -> None:
    """A phase that is seen ends those before it: GRUB's greeting taken for the services' skips Xen and the kernel."""
    node = next(node for node in cases(system).values() if node.firmware == "bios")
    patterns = [
        phase.awaits
        for boot in load_system(system).plan(node).boots
        for phase in boot.phases
        if phase.name == "services"
    ]
    assert patterns
    for pattern in patterns:
        assert not re.search(pattern, "Welcome to GRUB!")
        assert re.search(pattern, "Welcome to Debian GNU/Linux 13 (trixie)!")
