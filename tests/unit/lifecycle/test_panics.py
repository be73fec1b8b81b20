"""An emulated machine that panics gets a second start, and only then."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.errors import NodeFailed
from builder.events import EventLog, about
from builder.lifecycle.panics import with_second_start
from builder.lifecycle.steps import Json
from builder.model.runtime import Accelerator
from tests.support.lab import Bench


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


def test_tests_of_a_boot_look_at_its_last_start(tmp_path: Path) -> None:
    here = Bench(tmp_path)
    here.places.lab("one").mkdir(parents=True)
    log = EventLog("one", here.places.lab("one") / "events.jsonl")
    tell = about(log.emit, node="n1", step="n1/boot:disk")
    for kernel in ("failed", "ok"):
        tell("end", phase="firmware", outcome="ok")
        tell("end", phase="dom0 kernel", outcome=kernel)
        if kernel == "failed":
            assert here.followed("one") == {"n1/boot:disk": [("firmware", "ok"), ("dom0 kernel", "failed")]}
            tell("fault", cause="dom0-crashed", message="it is started once more")
    assert here.followed("one") == {"n1/boot:disk": [("firmware", "ok"), ("dom0 kernel", "ok")]}
