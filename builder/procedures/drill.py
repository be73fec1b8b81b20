"""A procedure tried on a host that may be broken: applied, applied again, restarted, undone, each time looked at."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from pydantic import Field

from builder.errors import LabError
from builder.model.host import Host
from builder.model.lab import Value
from builder.procedures.api import Drill, Evidence, Procedure, Refusal
from builder.procedures.asking import listed, mode_of, read_text
from builder.procedures.engine import Engine
from builder.procedures.errors import Unproven
from builder.procedures.guests import GuestKind, drill_guest
from builder.procedures.options import parse_options

Verdict = Literal["yes", "no", "not tried", "not documented to"]


class Step(Value):
    """One step of a drill with what was seen. `seconds` are of a clock on the wall."""

    name: str
    ok: bool
    seconds: float
    evidence: tuple[Evidence, ...] = ()
    error: str = ""


class Drilled(Value):
    """What became of a procedure on a host. `survives` a restart: `not documented to` where the effect ends with it."""

    procedure: str
    node: str
    release: str
    dialect: str
    asked: Mapping[str, str]
    guest: str = Field("", description="the kind of the guest that was made for it: pv or pvh")
    applied: Verdict = "not tried"
    repeated: Verdict = "not tried"
    survives: Verdict = "not tried"
    undone: Verdict = "not tried"
    seconds: float = 0
    steps: tuple[Step, ...] = ()

    @property
    def ok(self) -> bool:
        return self.undone == "yes" and all(step.ok for step in self.steps)


def drill(
    engine: Engine, node: str, procedure: Procedure, options: Mapping[str, str] | None = None,
    *, guest: GuestKind = "pv",
) -> Drilled:  # fmt: skip
    """Go through the whole of it. What fails is in the result, what has to be there first included; the host is left
    undone as far as that went.

    Raises LabError when the procedure cannot be tried at all, and UsageError for options that it does not take.
    """
    asked = dict(procedure.drill.options if options is None else options)
    if procedure.drill.reason and options is None:
        raise LabError(f"{procedure.name} is not drilled: {procedure.drill.reason}")
    host = engine.world.host(node)
    dialect = engine.dialect(node, procedure)
    if without := lacks(host, procedure, dialect, options):
        raise LabError(f"{procedure.name} is not drilled on {node}: {without.message}", hint=without.hint)
    release = host.facts().release
    steps: list[Step] = []
    disk = asked.get(procedure.drill.disk, "")
    kind = guest if procedure.drill.guest and dialect == "xl" else None
    verdicts: dict[str, Verdict] = {"applied": "no"}
    started = time.monotonic()
    try:
        with _prepared(host, procedure.drill, kind, disk):
            verdicts = _go(engine, node, procedure, asked, steps)
    except LabError as problem:
        around = "put back" if steps else "prepare"
        took = round(time.monotonic() - started - sum(step.seconds for step in steps), 1)
        steps.append(Step(name=around, ok=False, seconds=took, error=str(problem)))
    return Drilled(
        procedure=procedure.name,
        node=node,
        release=release,
        dialect=dialect,
        asked=asked,
        guest=kind or "",
        steps=tuple(steps),
        seconds=round(sum(step.seconds for step in steps), 1),
        **verdicts,
    )


def lacks(host: Host, procedure: Procedure, dialect: str, options: Mapping[str, str] | None = None) -> Refusal | None:
    """What the drill needs and the host does not have: packages, and guests that are made for drills (plain Xen)."""
    if dialect != "xl":
        unmade = procedure.drill.guest and options is None
        return Refusal(code="no-guest", message="guests for drills are made by xl only",
                       hint="name one of the host's that may be broken: guest=NAME") if unmade else None  # fmt: skip
    if not procedure.drill.packages:
        return None
    asked = ["dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package}\n", *procedure.drill.packages]
    there = {row.split()[1] for row in host.run(asked).stdout.splitlines() if row.startswith("ii ")}
    without = [name for name in procedure.drill.packages if name not in there]
    if not without:
        return None
    return Refusal(code="no-packages", message=f"the host lacks {listed(without)}",
                   hint=f"in its lab file: packages: [{', '.join(without)}]")  # fmt: skip


def _go(
    engine: Engine, node: str, procedure: Procedure, given: Mapping[str, str], steps: list[Step]
) -> dict[str, Verdict]:
    asked = parse_options(procedure, given)
    subject = str(getattr(asked, procedure.subject)) if procedure.subject else ""
    verdicts: dict[str, Verdict] = {}
    dialect = engine.dialect(node, procedure)
    way = procedure.ways[dialect]

    def apply() -> tuple[Evidence, ...]:
        return _expect("applied" if way.changes else "unchanged", engine.run(node, procedure, asked))

    def again() -> tuple[Evidence, ...]:
        return _expect("unchanged", engine.run(node, procedure, asked))

    def restart() -> tuple[Evidence, ...]:
        engine.reboot(node, dialect)
        evidence = engine.check(node, procedure, asked)
        if not all(each.ok for each in evidence):
            raise Unproven(node, procedure.name, evidence)
        return evidence

    def undo() -> tuple[Evidence, ...]:
        evidence = _expect("undone", engine.undo(node, procedure, subject)) if way.changes else ()
        _expect("nothing", engine.undo(node, procedure, subject))
        return evidence

    verdicts["applied"] = attempt(steps, "run", apply)
    if verdicts["applied"] == "yes":
        verdicts["repeated"] = attempt(steps, "run again", again)
        verdicts["survives"] = attempt(steps, "restart", restart) if way.lasting else "not documented to"
    verdicts["undone"] = attempt(steps, "undo", undo)
    return verdicts


def attempt(steps: list[Step], name: str, act: Callable[[], tuple[Evidence, ...]]) -> Verdict:
    """Do it, and put down in `steps` what was seen. What goes wrong, or is not seen as it should be, too."""
    started = time.monotonic()
    evidence: tuple[Evidence, ...] = ()
    error = ""
    try:
        evidence = act()
        error = "; ".join(f"{it.what}: expected {it.expected}, seen {it.seen}" for it in evidence if not it.ok)
    except LabError as problem:
        error = str(problem)
        evidence = getattr(problem, "evidence", ())
    steps.append(
        Step(name=name, ok=not error, seconds=round(time.monotonic() - started, 1), evidence=evidence, error=error)
    )
    return "no" if error else "yes"


def _expect(wanted: str, outcome: object) -> tuple[Evidence, ...]:
    result, evidence = getattr(outcome, "result"), getattr(outcome, "evidence")  # noqa: B009
    if result != wanted:
        raise LabError(f"the result is '{result}', and should be '{wanted}'")
    return tuple(evidence)


@contextlib.contextmanager
def _prepared(host: Host, how: Drill, kind: GuestKind | None, disk: str) -> Iterator[None]:
    """The drill's files in place of the host's, and its guest (plain Xen); all as it was afterwards."""
    before = {path: (read_text(host, path), mode_of(host, path)) for path in how.files}
    for path, content in how.files.items():
        host.write(path, content.encode(), mode=before[path][1])
    try:
        if kind:
            with drill_guest(host, how.card, disk=disk, kind=kind):
                yield
        else:
            yield
    finally:
        for path, (text, mode) in before.items():
            if text is None:
                host.run(["rm", "-f", "--", path])
            else:
                host.write(path, text.encode(), mode=mode)
