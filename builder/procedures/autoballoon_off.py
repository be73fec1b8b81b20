"""xl leaves dom0's memory alone when it starts guests."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from builder.model.host import Host, World
from builder.procedures import xlconf
from builder.procedures.api import (
    Action,
    Dead,
    Drill,
    Evidence,
    Options,
    Procedure,
    Refusal,
    State,
    Way,
    as_it_was,
    holds,
    same,
)
from builder.procedures.asking import ask, domains, fields, read_text, xen_arguments

KEY = "autoballoon"
_PROBE = "nestlab-probe"
_PROBE_FILE = "/run/nestlab-probe.cfg"
_BEYOND = 64
"""MiB that the probe asks for beyond what is free."""


class Asked(Options):
    prove: bool = Field(
        True,
        description="try to start a guest larger than the free memory: it is refused, and dom0 keeps its own",
    )


class _State(State):
    passing: ClassVar[frozenset[str]] = frozenset({"text", "fixed"})

    line: str | None
    text: str | None
    fixed: bool


class _Xl(Way[Asked, _State]):
    state = _State
    sample = _State(line=None, text="", fixed=True)

    def look(self, host: Host, asked: Asked) -> _State:  # noqa: ARG002
        text = read_text(host, xlconf.PATH)
        fixed = bool(xen_arguments(host).values("dom0_mem"))
        return _State(line=xlconf.line_of(text or "", KEY), text=text, fixed=fixed)

    def refusals(self, state: _State, asked: Asked) -> tuple[Refusal, ...]:  # noqa: ARG002
        if state.fixed:
            return ()
        return (
            Refusal(
                code="dom0-has-all",
                message="dom0 was started without dom0_mem and holds all memory: without ballooning no guest starts",
                hint="give dom0 a fixed amount first: nestlab procedure run LAB NODE dom0-memory",
            ),
        )

    def actions(self, state: _State, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        if xlconf.value_of(state.line) in ("off", "0"):
            return ()
        return xlconf.change(state.text, _switched_off(state.text))

    def undo(self, state: _State, before: _State, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        if state.line == before.line:
            return ()
        if state.text == _switched_off(before.text):
            return (as_it_was(xlconf.PATH, before.text),)
        return xlconf.change(state.text, xlconf.with_line(state.text or "", KEY, before.line))

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        line = xlconf.line_of(read_text(host, xlconf.PATH) or "", KEY)
        setting = holds("autoballoon, as xl reads it", "off", xlconf.value_of(line) or "auto",
                        xlconf.value_of(line) in ("off", "0"))  # fmt: skip
        return (setting, *_probe(host)) if asked.prove else (setting,)


def _switched_off(text: str | None) -> str:
    return xlconf.with_line(text or "", KEY, f'{KEY}="off"')


def _probe(host: Host) -> tuple[Evidence, ...]:
    """A guest larger than the free memory: xl refuses it, and dom0 has after it what it had before."""
    before = _dom0_mib(host)
    free = int(fields(ask(host, "xl", "info"))["free_memory"])
    kernel = f"/boot/vmlinuz-{ask(host, 'uname', '-r').strip()}"
    config = f'name = "{_PROBE}"\ntype = "pv"\nkernel = "{kernel}"\nmemory = {free + _BEYOND}\nvcpus = 1\n'
    host.write(_PROBE_FILE, config.encode(), mode=0o600)
    try:
        created = host.run(["xl", "create", "-p", "-q", _PROBE_FILE], timeout=600)
        after = _dom0_mib(host)
        if created.ok:
            ask(host, "xl", "destroy", _PROBE)
    finally:
        host.run(["rm", "-f", "--", _PROBE_FILE])
    started = "it was started" if created.ok else "it was refused"
    return (
        same(f"a guest with {_BEYOND} MiB more than is free", "it was refused", started),
        same("dom0's memory after that", f"{before}MiB", f"{after}MiB"),
    )


def _dom0_mib(host: Host) -> int:
    return next(mib for _, number, mib in domains(host) if number == 0)


PROCEDURE = Procedure(
    name="autoballoon-off",
    title="No ballooning of dom0",
    summary="xl starts guests from free memory only and never takes any from dom0. With XAPI there is nothing to do: "
    "dom0's memory is fixed there.",
    options=Asked,
    ways={"xl": _Xl()},
    sources=(
        "openSUSE xen README: Dom0 Memory Ballooning",
        "Debian wiki: Xen, Configure Domain 0 Memory",
        "xl.conf(5)",
    ),
    refuses={
        "dom0-has-all": "dom0 was started without a fixed amount of memory",
    },
    drill=Drill(files={xlconf.PATH: '# As Debian ships it: everything by default.\n#autoballoon="auto"\n'}),
    dead=(
        Dead(
            says="(enable-dom0-ballooning no) in /etc/xen/xend-config.sxp",
            why="xend is gone; xl reads autoballoon in /etc/xen/xl.conf",
        ),
    ),
)
