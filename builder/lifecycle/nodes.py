"""Bringing a plan's nodes to be as planned, whatever is there already, and taking them down again."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from builder.drivers.ends import ENDS
from builder.errors import HostLacks, Interrupted, LabError, NodeFailed, TimedOut, UsageError
from builder.events import Emit, Outcome
from builder.lifecycle.effects import Effects
from builder.lifecycle.evidence import copy_evidence
from builder.lifecycle.plan import QEMU_OVERHEAD, LabPlan
from builder.lifecycle.request import UpOptions
from builder.lifecycle.state import LabFolder, StepRecord
from builder.lifecycle.steps import Gate, Runner, Step
from builder.model.runtime import LabState, LabStatus, NodeState, NodeStatus
from builder.paths import Places

log = logging.getLogger("nestlab.keeper")


class Nodes:
    """The nodes of one lab, inside its keeper."""

    def __init__(self, places: Places, lab_id: str, folder: LabFolder, emit: Emit) -> None:
        self._places = places
        self._lab_id = lab_id
        self._folder = folder
        self._emit = emit
        self._plan: LabPlan | None = None
        self._state: LabState = "starting"
        self._node_states: dict[str, NodeState] = {}
        self._causes: dict[str, str] = {}
        self._started = time.time()
        self._expires = 0.0
        self._lifetime: int | None = None
        self.effects = Effects(places, lab_id, folder, emit)

    def converge(self, plan: LabPlan, options: UpOptions, stop: threading.Event) -> None:
        """Start what is not running, keep what runs unchanged.

        Raises UsageError for a live node whose plan changed and that may not be recreated; otherwise whatever
        stopped a node, with `Interrupted` when `stop` was set.
        """
        self._refuse_changes(plan, options.recreate)
        known = self._plan or plan
        for name in {node.name for node in known.nodes} & {*options.recreate}:
            self._undo(reversed([s for s in known.node_steps(name) if s.kind == "live"]))
            self._folder.remove_node(name)
        self._plan = plan
        starting = [node.name for node in plan.nodes if not self.effects.is_running(node.name)]
        self.effects.use(plan, options)
        admit(plan, starting, self.effects.memory())
        self._folder.write_plan(plan)
        # Those that run stay what they are also when another one fails: `nestlab ssh` goes by it.
        ready = {name for name, state in self._node_states.items() if state == "ready" and name not in starting}
        self._node_states = {n.name: "ready" if n.name in ready else "planned" for n in plan.nodes}
        self._start(plan, [n.name for n in plan.nodes], options.jobs or max(2, os.cpu_count() or 1), stop)

    def power_on(self, name: str, stop: threading.Event) -> None:
        """Start this node as it was planned, unless it runs; others that are off stay off. Raises what stopped it."""
        plan = self._plan
        if plan is None or name not in {node.name for node in plan.nodes}:
            raise LabError(f"lab {self._lab_id} has no node {name}", hint=f"nestlab status {self._lab_id}")
        admit(plan, [] if self.effects.is_running(name) else [name], self.effects.memory())
        self._start(plan, [name], 1, stop)

    def _start(self, plan: LabPlan, names: list[str], jobs: int, stop: threading.Event) -> None:
        own = {step for name in names for step in plan.node(name).steps}

        def do(step: Step, stop: threading.Event) -> None:
            if step.id in own:
                self._do(step, stop)

        self._state = "starting"
        self._write_status()
        # Boots under emulation keep a core busy each: more of them at once than cores makes every one slower.
        gate = Gate({"boot": jobs if self.effects.uses_kvm() else min(jobs, max(1, os.cpu_count() or 1))})
        self._emit("begin", nodes=names, jobs=jobs)
        try:
            Runner(do, jobs=max(jobs, 2), gate=gate).run(plan.steps, stop)
            self.effects.tell_names(names)
        except BaseException as error:
            self._state = "failed"
            with contextlib.suppress(OSError):  # the disk may be full: that is told by what failed
                self._write_status()
            outcome: Outcome = "interrupted" if isinstance(error, Interrupted) else "failed"
            self._emit("end", outcome=outcome, error=str(error))
            raise
        self._state = "failed" if "failed" in self._node_states.values() else "ready"  # of another node's start
        self._write_status()
        self._emit("end", outcome="ok")

    def start_timer(self, seconds: int) -> float:
        """Seconds since the epoch at which the lab ends by itself, 0 for never. The same lifetime again changes
        nothing: an `up` that finds all as it should be does nothing."""
        if seconds != self._lifetime:
            self._lifetime = seconds
            self._expires = time.time() + seconds if seconds else 0.0
            self._write_status()
        return self._expires

    def status(self) -> LabStatus:
        """How things stand right now: a guest that went away by itself shows as stopped."""
        for name, state in self._node_states.items():
            if state == "ready" and not self.effects.is_running(name):
                self._node_states[name] = "stopped"
        return self._write_status()

    def keep_evidence(self) -> Path:
        """Copy what tells why a lab failed to where it outlives the lab, as far as there is room. Only the last failure
        of a lab is kept."""
        target = self._places.state / "failures" / self._lab_id
        shutil.rmtree(target, ignore_errors=True)
        with contextlib.suppress(OSError):
            target.mkdir(mode=0o700, parents=True)  # answers and consoles are nobody else's
        copy_evidence(self._folder.path, target)
        return target

    def take_down(self) -> None:
        """Undo every live step, newest first. Never raises: what cannot be undone is logged and the rest goes on."""
        self._state = "stopping"
        if self._plan is not None:
            with contextlib.suppress(OSError):
                self._write_status()
            self._undo(s for s in reversed(self._plan.steps) if s.kind == "live")
        try:
            self.effects.close()
        except LabError:  # the lab's folder says where something is left
            log.exception("closing")

    def _refuse_changes(self, plan: LabPlan, recreate: tuple[str, ...]) -> None:
        old = self._plan
        if old is None:
            return
        refused: dict[str, list[str]] = {}
        for node in old.nodes:
            changes = _changes(old, plan, node.name)
            # A node of which nothing was made yet (there was no memory for it, say) may be left out and changed.
            if changes and node.name not in recreate and self._folder.records(node.name):
                refused[node.name] = changes
        if refused:
            lines = [f"{name}: {', '.join(changes)}" for name, changes in refused.items()]
            anew = [f"--recreate {name}" for name in refused if name in {node.name for node in plan.nodes}]
            gone = [name for name in refused if f"--recreate {name}" not in anew]
            hints = [f"{' '.join(anew)} makes them anew (their disks are lost)"] if anew else []
            hints += [f"a lab loses {', '.join(gone)} with nestlab down {self._lab_id} only"] if gone else []
            raise UsageError(
                "the lab is up and its file changed what is running:\n  " + "\n  ".join(lines), hint="; ".join(hints)
            )

    def _do(self, step: Step, stop: threading.Event) -> None:
        started = time.monotonic()
        try:
            done = self._cached(step, stop) if step.kind == "cached" else self._live(step, stop)
        except BaseException as raised:
            error = _named(raised, step)
            cause = error.cause if isinstance(error, NodeFailed | TimedOut) else type(error).__name__
            if step.node:
                self._node_states[step.node] = "failed"
                self._causes[step.node] = cause
            self._emit("end", node=step.node, step=step.id, outcome="failed", cause=cause, error=str(error))
            if error is raised:
                raise
            raise error from None
        if done:
            self._emit("end", node=step.node, step=step.id, outcome="ok", seconds=time.monotonic() - started)
        if step.node and step.name == "session":
            self._node_states[step.node] = "ready"
            self._write_status()

    def _cached(self, step: Step, stop: threading.Event) -> bool:
        work = self.effects.work(step)
        if work.is_done(step):
            self._emit("end", step=step.id, outcome="cached", key=step.key)
            work.do(step, stop)
            return False
        self._emit("begin", step=step.id, key=step.key, expected=step.weight)
        work.do(step, stop)
        return True

    def _live(self, step: Step, stop: threading.Event) -> bool:
        assert step.node is not None
        work = self.effects.work(step)
        record = self._folder.records(step.node).get(step.id)
        if record and record.state == "done" and record.key == step.key and work.is_done(step):
            self._emit("end", node=step.node, step=step.id, outcome="cached", key=step.key)
            return False
        if record:
            work.undo(step)
        if work.is_given(step):
            self._folder.record(step, StepRecord(key=step.key, state="done"))
            self._emit("end", node=step.node, step=step.id, outcome="cached", key=step.key)
            return False
        if self._node_states[step.node] != "starting":
            self._node_states[step.node] = "starting"
            self._write_status()
        self._folder.record(step, StepRecord(key=step.key, state="begun"))
        self._emit("begin", node=step.node, step=step.id, key=step.key, expected=step.weight)
        started = time.monotonic()
        output = work.do(step, stop)
        seconds = round(time.monotonic() - started, 3)
        self._folder.record(step, StepRecord(key=step.key, state="done", output=output, seconds=seconds))
        return True

    def _undo(self, steps: Iterable[Step]) -> None:
        for step in steps:
            try:
                assert step.node is not None
                if step.id in self._folder.records(step.node):
                    self.effects.work(step).undo(step)
                    self._folder.record(step, None)
                    self._emit("end", node=step.node, step=step.id, outcome="undone")
            except (LabError, OSError):
                log.exception("undoing %s", step.id)

    def _write_status(self) -> LabStatus:
        nodes = []
        for plan in self._plan.nodes if self._plan else ():
            state = self._node_states.get(plan.name, "planned")
            nodes.append(
                NodeStatus(
                    name=plan.name, system=plan.system.system, release=plan.system.release, state=state,
                    phase=self.effects.phase(plan.name), cause=self._causes.get(plan.name),
                    ssh=self.effects.ssh_target(plan.name),
                    console_log=str(self._folder.path / "nodes" / plan.name / "console.log"),
                    console_socket=self.effects.console_socket(plan.name),
                )
            )  # fmt: skip
        status = LabStatus(
            lab=self._lab_id, state=self._state, accelerator=self.effects.accelerator, keeper_pid=os.getpid(),
            started_at=self._started, expires_at=self._expires, nodes=tuple(nodes),
        )  # fmt: skip
        self._folder.write_status(status)
        return status


def admit(plan: LabPlan, starting: Sequence[str], available: int | None) -> None:
    """Refuse to start more than there is memory for now: a host that swaps or kills guests fails every lab on it.

    `available` is in bytes; None when the host does not tell. Raises HostLacks.
    """
    asked = sum(plan.node(name).node.memory + QEMU_OVERHEAD for name in starting)
    if available is None:
        return
    if asked > available:
        names = ", ".join(starting)
        raise HostLacks(
            f"starting {names} takes {asked >> 20} MiB of memory and this host has {available >> 20} MiB free",
            hint="take down other labs (nestlab ls), or give the nodes less `memory:`",
        )


def _named(error: BaseException, step: Step) -> BaseException:
    """The error, or what is behind it where that has a name: the disk of this machine is full, which programs and
    libraries say in many ways. What failed in a guest has its name already, and its text holds what the guest said: of
    its own disks."""
    if isinstance(error, _OF_GUESTS):
        return error
    full = ENDS["no-space"]
    behind: BaseException | None = error
    while behind is not None:
        said = "" if isinstance(behind, _OF_GUESTS) else str(behind)
        if (isinstance(behind, OSError) and behind.errno in _FULL) or os.strerror(errno.ENOSPC) in said:
            message = f"this machine has no room left for its files: {str(error).splitlines()[0]}"
            return NodeFailed(step.node or step.id, message, cause=full.name, hint=full.cure)
        behind = behind.__context__
    return error


_FULL = (errno.ENOSPC, errno.EDQUOT)
_OF_GUESTS = (NodeFailed, TimedOut)


def _changes(old: LabPlan, new: LabPlan, name: str) -> list[str]:
    """What of a node's plan differs, in words: `hardware.memory`, `image`, or that the node is gone."""
    if name not in {node.name for node in new.nodes}:
        return ["no longer in the lab file"]
    steps = {step.name + step.id.partition("/")[2]: step for step in new.node_steps(name)}
    changes: list[str] = []
    for step in old.node_steps(name):
        other = steps.get(step.name + step.id.partition("/")[2])
        if other is None or other.key == step.key:
            changes += [] if other else [step.name]
        else:
            changes += _differing(step, other)
    return changes


def _differing(old: Step, new: Step) -> list[str]:
    """The names of the inputs that differ, one level deep."""
    names = []
    for key in sorted(set(old.inputs) | set(new.inputs)):
        a, b = old.inputs.get(key), new.inputs.get(key)
        if a == b:
            continue
        if isinstance(a, dict) and isinstance(b, dict):
            names += [f"{key}.{k}" for k in sorted(set(a) | set(b)) if a.get(k) != b.get(k)]
        else:
            names.append(key)
    return names
