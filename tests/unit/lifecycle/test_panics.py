"""An emulated machine that panics gets a second start, and only then."""

from __future__ import annotations

import pytest

from builder.errors import NodeFailed
from builder.lifecycle.panics import with_second_start
from builder.lifecycle.steps import Json
from builder.model.runtime import Accelerator


class Machine:
    """Ends its starts by these causes, in order; None is a good one."""

    def __init__(self, *causes: str | None) -> None:
        self.causes = list(causes)
        self.did: list[str] = []

    def start(self) -> Json:
        self.did.append("start")
        cause = self.causes.pop(0)
        if cause is not None:
            raise NodeFailed("n1", "it stopped", cause=cause)
        return {"ssh": 1.0}

    def stop(self) -> None:
        self.did.append("stop")

    def emit(self, kind: str, **data: object) -> None:
        self.did.append(f"{kind} {data['cause']}")

    def run(self, accelerator: Accelerator = "tcg") -> Json:
        return with_second_start(self.start, self.stop, accelerator=accelerator, emit=self.emit)


def test_a_good_start_is_the_only_one() -> None:
    machine = Machine(None)
    assert machine.run() == {"ssh": 1.0}
    assert machine.did == ["start"]


@pytest.mark.parametrize("cause", ["kernel-panic", "xen-panic", "dom0-crashed"])
def test_a_panic_is_told_and_started_after(cause: str) -> None:
    machine = Machine(cause, None)
    assert machine.run() == {"ssh": 1.0}
    assert machine.did == ["start", f"fault {cause}", "stop", "start"]


def test_a_panic_that_comes_again_is_the_hosts_own() -> None:
    machine = Machine("kernel-panic", "kernel-panic", None)
    with pytest.raises(NodeFailed):
        machine.run()
    assert machine.did == ["start", "fault kernel-panic", "stop", "start"]


@pytest.mark.parametrize(("cause", "accelerator"), [("no-root", "tcg"), ("kernel-panic", "kvm")])
def test_other_ends_and_kvm_get_no_second_start(cause: str, accelerator: Accelerator) -> None:
    machine = Machine(cause, None)
    with pytest.raises(NodeFailed):
        machine.run(accelerator)
    assert machine.did == ["start"]
