"""A second start for an emulated machine that panicked.

QEMU before 8.1 may translate code that another of the guest's CPUs is just changing ("accel/tcg: Always lock pages
before translation", QEMU 8.1), and kernels change their own code while they start. Seen with QEMU 7.2: one start of a
sound Debian host in about fifty ended in a kernel panic, each at another place. A panic that is the host's own comes
again. With KVM there is no such excuse.
"""

from __future__ import annotations

from collections.abc import Callable

from builder.errors import NodeFailed
from builder.events import Emit
from builder.lifecycle.steps import Json
from builder.model.runtime import Accelerator

PANICS = frozenset({"dom0-crashed", "kernel-panic", "xen-panic"})
"""Names of causes."""


def with_second_start(
    start: Callable[[], Json], stop: Callable[[], None], *, accelerator: Accelerator, emit: Emit
) -> Json:
    """What `start` returns. When it ends in a panic under emulation it is called again, once, after `stop`, and a
    fault is told. Raises what `start` raises."""
    try:
        return start()
    except NodeFailed as error:
        if accelerator != "tcg" or error.cause not in PANICS:
            raise
        emit("fault", cause=error.cause, message=f"{error.cause} under emulation; it is started once more")
        stop()
    return start()
