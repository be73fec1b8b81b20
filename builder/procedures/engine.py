"""Doing what a procedure decided: look, refuse or act, keep what was before, check; and all of it back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pydantic import Field

from builder.errors import LabError, TimedOut, UsageError
from builder.events import Emit
from builder.model.host import Host, HostResult, World
from builder.model.lab import Value
from builder.procedures.api import (
    Action,
    Dialect,
    Evidence,
    Hand,
    Options,
    Procedure,
    Reboot,
    Refusal,
    Remove,
    Run,
    Shutdown,
    Way,
    Write,
    same,
)
from builder.procedures.asking import listed, mode_of, running_guests
from builder.procedures.errors import Failed, Refused, Unproven
from builder.procedures.journal import Journal, Record
from builder.procedures.options import show_default

REBOOT_SECONDS = 240
TOOLSTACK_SECONDS = 60
SHUTDOWN_SECONDS = 240
Result = Literal["planned", "unchanged", "applied", "undone", "nothing"]


class Machines(World, Protocol):
    """A world whose machines are seen from outside them."""

    def running(self, node: str) -> bool:
        """Whether the machine is powered on."""
        ...


class Outcome(Value):
    """What came of it. `result`: `planned` (a dry run), `unchanged` (it was so already), `applied`, `undone`, or
    `nothing` (there was nothing to undo)."""

    node: str
    procedure: str
    dialect: str
    result: Result
    actions: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    advice: tuple[str, ...] = ()
    seconds: float = 0
    release: str = ""
    rebooted: bool = Field(False, description="the host was restarted on the way")


@dataclass(frozen=True, slots=True)
class _At:
    """One procedure on one host."""

    node: str
    host: Host
    procedure: Procedure
    dialect: Dialect
    release: str
    way: Way[Any, Any]


def _silent(*_: object, **__: object) -> None:
    """Tells nobody."""


class Engine:
    """Runs procedures on the hosts of a world. `patience` multiplies every time-out; `tell` gets an event for each
    step. Raises Refused, Failed, Unproven, and what the host handle raises."""

    def __init__(
        self, world: Machines, *, tell: Emit = _silent, patience: float = 1, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.world = world
        self._tell = tell
        self._patience = patience
        self._sleep = sleep

    def run(self, node: str, procedure: Procedure, asked: Options, *, dry_run: bool = False) -> Outcome:
        """Bring the host to what is asked for and see that it is. A second run changes nothing. `dry_run` only looks,
        and says exactly what would be done."""
        started = time.monotonic()
        at = self._at(node, procedure)
        self._tell("begin", node=node, step=procedure.name, phase="look")
        asked = at.way.settle(at.host, asked)
        state = at.way.see(self.world, at.host, asked)
        actions = at.way.actions(state, asked)
        journal = Journal(at.host, procedure.key(asked))
        refusals = [*at.way.refusals(state, asked), *self._guests(at, actions), *_otherwise(procedure, asked, journal)]
        if refusals and actions:
            raise Refused(node, procedure.name, refusals)
        advice = at.way.advice(state, asked)
        if dry_run:
            return self._outcome(at, "planned", started, actions=actions, advice=advice)
        if actions:
            journal.begin(
                Record(
                    procedure=procedure.name,
                    dialect=at.dialect,
                    asked=asked.model_dump(mode="json"),
                    before=state.model_dump(mode="json"),
                )
            )
            self._perform(at, [action for action in actions if not isinstance(action, Shutdown)])
        evidence = self._checked(at, "check", lambda: at.way.check(self.world, at.host, asked))
        if not all(each.ok for each in evidence):
            raise Unproven(node, procedure.name, evidence, changed=bool(actions))
        if isinstance(last := actions[-1] if actions else None, Shutdown):
            self._perform(at, [last])
            evidence += (same("the machine is powered on", False, self.world.running(node)),)
        result: Result = "applied" if actions else "unchanged"
        return self._outcome(at, result, started, actions=actions, evidence=evidence, advice=advice)

    def undo(self, node: str, procedure: Procedure, subject: str = "", *, dry_run: bool = False) -> Outcome:
        """Bring back what was before the first run, by the journal on the host, and see that it is back. `subject`
        says which application is meant, where a host can have several.

        Raises UsageError when that is not clear.
        """
        started = time.monotonic()
        at = self._at(node, procedure)
        key = self._which(at, subject)
        journal = Journal(at.host, key) if key else None
        record = journal.read() if journal else None
        if journal is None or record is None:
            return self._outcome(at, "nothing", started)
        asked = _read(procedure.options, record.asked, key)
        before = _read(at.way.state, record.before, key)
        state = at.way.see(self.world, at.host, asked)
        actions = at.way.undo(state, before, asked)
        refusals = self._guests(at, actions)
        if refusals:
            raise Refused(node, f"undoing {procedure.name}", refusals)
        if dry_run:
            return self._outcome(at, "planned", started, actions=actions)
        self._perform(at, actions)
        evidence = self._checked(at, "check undone", lambda: at.way.check_undone(self.world, at.host, before, asked))
        if not all(each.ok for each in evidence):
            raise Unproven(node, procedure.name, evidence, undone=True)
        journal.end()
        return self._outcome(at, "undone", started, actions=actions, evidence=evidence)

    def reboot(self, node: str, dialect: Dialect) -> None:
        """Restart a host and wait until its toolstack answers."""
        host = self.world.host(node)
        host.reboot(wait=REBOOT_SECONDS * self._patience)
        ready = ["xl", "info"] if dialect == "xl" else ["xapi-wait-init-complete", str(int(300 * self._patience))]
        deadline = TOOLSTACK_SECONDS * self._patience
        waited = 0.0
        while not host.run(ready, timeout=400 * self._patience).ok:
            if waited >= deadline:
                raise TimedOut(f"'{' '.join(ready)}' after a reboot", seconds=deadline, node=node)
            self._sleep(2)
            waited += 2

    def power_off(self, node: str, argv: Sequence[str]) -> None:
        """Have a host power itself off by this command, and wait until its machine is seen to be off. Raises TimedOut,
        and LabError when it could not even be begun."""
        host = self.world.host(node)
        # a second later, so that this command still ends with a status of its own
        script = '(sleep 1; exec "$@") </dev/null >/dev/null 2>&1 &'
        begun = host.run(["sh", "-c", script, "sh", *argv], timeout=30 * self._patience)
        if not begun.ok:
            raise LabError(f"'{' '.join(argv)}' could not be begun: {begun.stderr.strip()}")
        waited = 0.0
        while waited < SHUTDOWN_SECONDS * self._patience:
            if not self.world.running(node):
                return
            self._sleep(2)
            waited += 2
        raise TimedOut("that the host powers off", seconds=waited, node=node)

    def check(self, node: str, procedure: Procedure, asked: Options) -> tuple[Evidence, ...]:
        """Look at the effects alone."""
        at = self._at(node, procedure)
        settled = at.way.settle(at.host, asked)
        return self._checked(at, "check", lambda: at.way.check(self.world, at.host, settled))

    def dialect(self, node: str, procedure: Procedure) -> Dialect:
        """How the host is driven. Raises LabError where the procedure has no way for it."""
        return self._at(node, procedure).dialect

    def _at(self, node: str, procedure: Procedure) -> _At:
        host = self.world.host(node)
        facts = host.facts()
        for dialect, way in procedure.ways.items():
            if dialect == facts.dialect:
                return _At(node, host, procedure, dialect, facts.release, way)
        what = "has no hypervisor" if facts.dialect == "none" else f"is driven by {facts.dialect}"
        raise LabError(
            f"{node} ({facts.release}) {what}: {procedure.name} is for {listed(list(procedure.ways))}",
            hint="nestlab procedure ls says which are for which",
        )

    def _guests(self, at: _At, actions: Sequence[Action]) -> tuple[Refusal, ...]:
        """A restart takes running guests down with the host."""
        if at.procedure.stops_guests or not any(isinstance(action, Reboot) for action in actions):
            return ()
        running = running_guests(at.host, at.dialect)
        if not running:
            return ()
        return (
            Refusal(
                code="guests-run",
                message=f"the host has to restart, and guests run on it: {listed(running)}",
                hint=f"stop or move them first: nestlab procedure run LAB {at.node} maintenance",
            ),
        )

    def _which(self, at: _At, subject: str) -> str | None:
        """The journal's key. None when there is none."""
        name = at.procedure.name
        if not at.procedure.subject:
            return name
        if subject:
            return f"{name}@{subject}"
        found = Journal.keys(at.host, name)
        if len(found) > 1:
            given = ", ".join(f"{at.procedure.subject}={key.partition('@')[2]}" for key in found)
            raise UsageError(f"{name} was applied to {at.node} more than once", hint=f"say which: {given}")
        return found[0] if found else None

    def _perform(self, at: _At, actions: Sequence[Action]) -> None:
        done: list[Action] = []
        for action in actions:
            shown = str(action).partition("\n")[0]
            self._tell("begin", node=at.node, step=at.procedure.name, phase="act", text=shown)
            started = time.monotonic()
            try:
                result = self._do(at, action)
            except LabError as error:
                self._tell("end", node=at.node, step=at.procedure.name, phase="act", outcome="failed")
                raise Failed(at.node, at.procedure.name, done, action, error.message) from error
            if result is not None:
                self._tell("end", node=at.node, step=at.procedure.name, phase="act", outcome="failed")
                raise Failed(at.node, at.procedure.name, done, action, result.stderr or result.stdout)
            self._tell("end", node=at.node, step=at.procedure.name, phase="act", outcome="ok",
                       seconds=round(time.monotonic() - started, 1))  # fmt: skip
            done.append(action)

    def _do(self, at: _At, action: Action) -> HostResult | None:
        """One action. Returns the result of a command that failed."""
        if isinstance(action, Reboot):
            self.reboot(at.node, at.dialect)
            return None
        if isinstance(action, Shutdown):
            self.power_off(at.node, action.argv)
            return None
        if isinstance(action, Hand):
            giver = self.world.host(action.on) if action.on else at.host
            taken = giver.run(action.take, timeout=60 * self._patience)
            if not taken.ok:
                return taken
            action = Run(action.give, stdin=taken.stdout.encode(), on=action.to)
        host = self.world.host(action.on) if action.on else at.host
        if isinstance(action, Write):
            mode = mode_of(host, action.path) if action.mode is None else action.mode
            host.write(action.path, action.content.encode(), mode=mode)
            return None
        call = Run(("rm", "-f", "--", action.path)) if isinstance(action, Remove) else action
        result = host.run(call.argv, stdin=call.stdin, timeout=call.seconds * self._patience)
        return None if result.ok or result.returncode in call.fine else result

    def _checked(self, at: _At, phase: str, look: Callable[[], tuple[Evidence, ...]]) -> tuple[Evidence, ...]:
        self._tell("begin", node=at.node, step=at.procedure.name, phase=phase)
        evidence = look()
        for each in evidence:
            but = "" if each.ok else f", expected {each.expected}"
            self._tell("line", node=at.node, step=at.procedure.name, phase=phase, text=f"{each.what}: {each.seen}{but}")
        outcome: Literal["ok", "failed"] = "ok" if all(each.ok for each in evidence) else "failed"
        self._tell("end", node=at.node, step=at.procedure.name, phase=phase, outcome=outcome)
        return evidence

    def _outcome(
        self, at: _At, result: Result, started: float, *, actions: Sequence[Action] = (),
        evidence: Sequence[Evidence] = (), advice: Sequence[str] = (),
    ) -> Outcome:  # fmt: skip
        return Outcome(
            node=at.node,
            procedure=at.procedure.name,
            dialect=at.dialect,
            release=at.release,
            result=result,
            actions=tuple(str(action) for action in actions),
            evidence=tuple(evidence),
            advice=tuple(advice),
            seconds=round(time.monotonic() - started, 1),
            rebooted=result != "planned" and any(isinstance(action, Reboot) for action in actions),
        )


def _otherwise(procedure: Procedure, asked: Options, journal: Journal) -> tuple[Refusal, ...]:
    """What was touched first would be forgotten: the journal keeps what is asked for last."""
    earlier = journal.read() if procedure.bound else None
    if earlier is None:
        return ()
    now = asked.model_dump(mode="json")
    kept = {name: earlier.asked.get(name) for name in procedure.bound}
    return tuple(
        Refusal(
            code="applied-otherwise",
            message=f"{procedure.name} is applied here with {name}={show_default(value)}",
            hint="undo that first: nestlab procedure undo",
        )
        for name, value in kept.items()
        if value and value != now[name]
    )


def _read(kind: type[Any], raw: Any, key: str | None) -> Any:
    """A value of a journal. Raises LabError when this version of nestlab cannot read it."""
    try:
        return kind.model_validate(raw)
    except ValueError as error:
        raise LabError(
            f"the journal of {key} on the host cannot be read: {error}",
            hint="undo it with the nestlab that applied it",
        ) from None
