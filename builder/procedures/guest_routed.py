"""Guests behind the host as behind a router: for cards that cannot be bridged, and networks that know one MAC only."""

from __future__ import annotations

from collections.abc import Mapping
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
    Write,
    as_it_was,
    run,
    same,
    unmet,
)  # fmt: skip
from builder.procedures.asking import ask, read_text

KEY = "vif.default.script"
SCRIPT = "vif-route"
# udev sets what is an interface's own when it tells of it: on a host that has just started, some time after ssh is up.
_SET = """\
for i in $(seq 120); do
  [ "$(cat "$1") $(cat "$3")" != "$2 $4" ] || break
  sleep 1
done
"""
PATH = "/etc/sysctl.d/zz-nestlab-guest-routed.conf"


class Asked(Options):
    card: str = Field(
        "xenbr0", pattern=r"^[A-Za-z0-9_-]+$", description="the host's interface that answers for guests' addresses"
    )
    proxy_arp: bool = Field(True, description="answer there for guests; without, the network must have routes to them")


class _State(State):
    """`line` is xl.conf's default script; `settings` our file; `kernel` what the kernel does now, by setting."""

    passing: ClassVar[frozenset[str]] = frozenset({"text", "there", "script"})

    line: str | None
    text: str | None
    settings: str | None
    kernel: Mapping[str, str]
    there: bool
    script: bool


class _Xl(Way[Asked, _State]):
    state = _State
    sample = _State(line=None, text="", settings=None, there=True, script=True,
                    kernel={"net.ipv4.ip_forward": "0", "net.ipv4.conf.xenbr0.proxy_arp": "0"})  # fmt: skip

    def look(self, host: Host, asked: Asked) -> _State:
        text = read_text(host, xlconf.PATH)
        there = host.run(["test", "-e", f"/sys/class/net/{asked.card}"]).ok
        return _State(
            line=xlconf.line_of(text or "", KEY),
            text=text,
            settings=read_text(host, PATH),
            kernel={name: _now(host, name) for name in _wanted(asked)} if there else {},
            there=there,
            script=host.run(["test", "-e", f"/etc/xen/scripts/{SCRIPT}"]).ok,
        )

    def refusals(self, state: _State, asked: Asked) -> tuple[Refusal, ...]:
        other = xlconf.value_of(state.line)
        rules = (
            (state.there, "no-card", f"the host has no interface {asked.card}", "ip -br link names them"),
            (state.script, "no-script", f"the host has no /etc/xen/scripts/{SCRIPT}", "xen-utils-common brings it"),
            (other in {None, "vif-bridge", SCRIPT}, "other-script", f"xl.conf says {other} for every interface already",
             "undo what put it there first"),
        )  # fmt: skip
        return unmet(rules)

    def actions(self, state: _State, asked: Asked) -> tuple[Action, ...]:
        todo: list[Action] = []
        if xlconf.value_of(state.line) != SCRIPT:
            todo += xlconf.change(state.text, xlconf.with_line(state.text or "", KEY, f'{KEY}="{SCRIPT}"'))
        settings = _settings(asked)
        if state.settings != settings:
            todo.append(Write(PATH, settings))
        todo += [run("sysctl", "-q", "-w", f"{name}={value}") for name, value in _wanted(asked).items()
                 if state.kernel.get(name) != value]  # fmt: skip
        return tuple(todo)

    def undo(self, state: _State, before: _State, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        todo: list[Action] = []
        if state.line != before.line:
            todo += xlconf.change(state.text, xlconf.with_line(state.text or "", KEY, before.line))
        if state.settings != before.settings:
            todo.append(as_it_was(PATH, before.settings))
        todo += [run("sysctl", "-q", "-w", f"{name}={value}") for name, value in before.kernel.items()
                 if state.kernel.get(name) != value]  # fmt: skip
        return tuple(todo)

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        paths = [word for name, value in _wanted(asked).items() for word in (_path(name), value)]
        host.run(["sh", "-c", _SET, "sh", *paths], timeout=1200)
        line = xlconf.line_of(read_text(host, xlconf.PATH) or "", KEY)
        return (
            same("script that xl runs for every new interface", SCRIPT, xlconf.value_of(line)),
            *(same(f"the kernel's {name}", value, _now(host, name)) for name, value in _wanted(asked).items()),
        )


def _wanted(asked: Asked) -> dict[str, str]:
    proxy = f"net.ipv4.conf.{asked.card}.proxy_arp"
    return {"net.ipv4.ip_forward": "1", proxy: str(int(asked.proxy_arp))}


def _settings(asked: Asked) -> str:
    lines = "".join(f"{name} = {value}\n" for name, value in _wanted(asked).items())
    return f"# Written by `nestlab procedure run`: guest-routed.\n{lines}"


def _now(host: Host, name: str) -> str:
    return ask(host, "cat", _path(name)).strip()


def _path(name: str) -> str:
    return f"/proc/sys/{name.replace('.', '/')}"


PROCEDURE = Procedure(
    name="guest-routed",
    title="Guests behind the host as behind a router",
    summary="xl gives a guest's interface the host's address and a route to the guest's (its vif says ip=192.0.2.10), "
    "the host forwards, and answers ARP for guests on its network. For cards that cannot be bridged, such as wireless "
    "ones. A vif that names script=vif-bridge is bridged as before.",
    options=Asked,
    ways={"xl": _Xl()},
    sources=(
        "openSUSE xen README: Networking (routing with NAT or proxy-arp)",
        "xl.conf(5)",
        "xl-network-configuration(5)",
    ),
    refuses={
        "no-card": "the host has no such interface",
        "no-script": "the host has no vif-route",
        "other-script": "xl.conf has another script for every interface",
    },
    drill=Drill(options={"card": "xenbr0"}),
    dead=(
        Dead(
            says="(network-script network-route) (vif-script vif-route) in xend-config.sxp",
            why="xend is gone: forwarding is a setting of the kernel, the script one of xl.conf",
        ),
    ),
)
