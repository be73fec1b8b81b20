"""Steps: the units of work a lab is made of, and the runner that does them in order.

A step's key is the digest of everything that decides its result: its name and version, its inputs, and the keys of
the steps it stands on. Never a path, a port, a time or a secret in clear. Equal keys mean equal results, so a cached
step is done once for all labs, and a live step of an unchanged key need not be done again.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from builder.errors import Interrupted, LabError
from builder.model.lab import Value

Json = Any


class Step(Value):
    """`kind` cached: its result is shared by all labs and outlives them. live: it belongs to one lab and has an
    undo. `weight` is the seconds it is expected to take."""

    id: str
    name: str
    version: int
    kind: Literal["cached", "live"]
    node: str | None = None
    needs: tuple[str, ...] = ()
    inputs: Mapping[str, Json] = Field(default_factory=dict)
    key: str = ""
    weight: float = 1


def digest(value: Json) -> str:
    """sha256 of the canonical JSON of `value`: sorted keys, no spaces, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def with_keys(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps with their keys filled in, in an order in which each comes after what it needs.

    What it needs of another node (`after:`) is that node's turn, and no part of the key: a host need not be made anew
    because the one that it waits for is.

    Raises LabError for a step that needs an unknown one, or itself in a circle.
    """
    keyed: dict[str, Step] = {}
    for step in in_order(steps):
        key = digest(
            {
                "name": step.name,
                "version": step.version,
                "inputs": step.inputs,
                "needs": [keyed[need].key for need in step.needs if keyed[need].node in (None, step.node)],
            }
        )
        keyed[step.id] = step.model_copy(update={"key": key})
    return tuple(keyed.values())


def in_order(steps: Sequence[Step]) -> list[Step]:
    """Topological order that keeps the given order where it may."""
    by_id = {step.id: step for step in steps}
    if len(by_id) != len(steps):
        raise LabError("two steps have one name", hint="this is a bug in a system: report it with the lab file")
    waiting = {step.id: sum(1 for need in step.needs if need != step.id) for step in steps}
    needed_by: dict[str, list[str]] = {}
    for step in steps:
        for need in step.needs:
            if need not in by_id or need == step.id:
                raise LabError(f"step {step.id} needs {need}, which cannot be", hint="report it with the lab file")
            needed_by.setdefault(need, []).append(step.id)
    ready = [step.id for step in steps if not waiting[step.id]]
    order: list[Step] = []
    while ready:
        done = ready.pop(0)
        order.append(by_id[done])
        for other in needed_by.get(done, ()):
            waiting[other] -= 1
            if not waiting[other]:
                ready.append(other)
    if len(order) != len(steps):
        circle = ", ".join(sorted(set(by_id) - {step.id for step in order}))
        raise LabError(f"these steps wait for each other: {circle}", hint="look at the nodes' `after:`")
    return order


@dataclass(frozen=True, slots=True)
class Work:
    """How a step is done. `do` returns its output; `undo` must work after any part of `do`, and twice.

    `is_done` tells whether the effect of an earlier run still stands (for a live step that was recorded as done),
    `is_given` that there is nothing to do, because another step has brought the effect along."""

    do: Callable[[Step, threading.Event], Json]
    undo: Callable[[Step], None]
    is_done: Callable[[Step], bool]
    is_given: Callable[[Step], bool] = lambda _step: False


class Gate:
    """How many steps of a name may run at once; others of that name wait."""

    def __init__(self, limits: Mapping[str, int]) -> None:
        self._gates = {name: threading.Semaphore(limit) for name, limit in limits.items()}

    def enter(self, step: Step, stop: threading.Event) -> None:
        gate = self._gates.get(step.name)
        while gate is not None and not gate.acquire(timeout=0.2):
            if stop.is_set():
                raise Interrupted(f"{step.id} was not started: the lab is being taken down")

    def leave(self, step: Step) -> None:
        if step.name in self._gates:
            self._gates[step.name].release()


class Runner:
    """Does steps, as many at once as `jobs` allows, each after what it needs.

    The first failure sets `stop`, waits for the steps that are under way and raises that failure. Undoing is the
    caller's decision, because a failed lab may be wanted for looking at.
    """

    def __init__(self, work: Callable[[Step, threading.Event], None], *, jobs: int, gate: Gate | None = None) -> None:
        self._work = work
        self._jobs = jobs
        self._gate = gate or Gate({})

    def run(self, steps: Sequence[Step], stop: threading.Event) -> None:
        todo = {step.id: step for step in in_order(steps)}
        inside = set(todo)
        done: set[str] = set()
        running: dict[Future[None], str] = {}
        failure: BaseException | None = None
        with ThreadPoolExecutor(max_workers=self._jobs, thread_name_prefix="step") as pool:
            while running or (todo and failure is None and not stop.is_set()):
                if failure is None and not stop.is_set():
                    for step in [s for s in todo.values() if all(n in done or n not in inside for n in s.needs)]:
                        del todo[step.id]
                        running[pool.submit(self._one, step, stop)] = step.id
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    name = running.pop(future)
                    error = future.exception()
                    if error is None:
                        done.add(name)
                    elif failure is None or isinstance(failure, Interrupted):
                        failure = error
                        stop.set()
        if failure is not None:
            raise failure
        if stop.is_set():
            raise Interrupted("stopped before the lab was ready")

    def _one(self, step: Step, stop: threading.Event) -> None:
        self._gate.enter(step, stop)
        try:
            if stop.is_set():
                raise Interrupted(f"{step.id} was not started: the lab is being taken down")
            self._work(step, stop)
        finally:
            self._gate.leave(step)
