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
from builder.procedures.vifs import FORWARDED, GATEWAY_KEY, PROBE, SCRIPT_KEY, SCRIPTS, told, try_script

SCRIPT = "vif-route"
# An address of documents (RFC 5737): what a made-up guest is reached by for a moment.
_GUEST = "192.0.2.254"
# The way that a packet to the guest takes.
_ROUTE = f"ip -o route get {_GUEST} | sed -n 's/.* dev \\([^ ]*\\).*/way=\\1/p'"
# udev sets what is an interface's own when it tells of it: on a host that has just started, some time after ssh is up.
_SET = """\
for i in $(seq 120); do
  [ "$(cat "$1") $(cat "$3")" != "$2 $4" ] || break
  sleep 1
done
"""
FORWARD = "net.ipv4.ip_forward"
# What others want of the kernel is not this procedure's to take away.
_STILL = FORWARDED.replace("/etc/sysctl.d/*.conf", "$(ls -d /etc/sysctl.d/*.conf | grep -v nestlab-guest-routed)")
_STILL += 'asked ""'
PATH = "/etc/sysctl.d/zz-nestlab-guest-routed.conf"


class Asked(Options):
    card: str = Field(
        "xenbr0", pattern=r"^[A-Za-z0-9_-]+$", description="the host's interface that answers for guests' addresses"
    )
    proxy_arp: bool = Field(True, description="answer there for guests; without, the network must have routes to them")


class _State(State):
    """`line` and `gateway` are xl.conf's: the default script, and the interface that it routes by; `settings` our file;
    `kernel` what the kernel does now, by setting."""

    passing: ClassVar[frozenset[str]] = frozenset({"text", "there", "address", "script", "ifconfig", "others"})

    line: str | None
    gateway: str | None
    text: str | None
    settings: str | None
    kernel: Mapping[str, str]
    there: bool
    address: bool
    script: bool
    ifconfig: bool
    others: bool = False
    """Bridges, or other settings than our file, want the host to forward."""


class _Xl(Way[Asked, _State]):
    state = _State
    sample = _State(
        line=None, gateway=None, text="", settings=None, there=True, address=True, script=True, ifconfig=True,
        kernel={"net.ipv4.ip_forward": "0", "net.ipv4.conf.xenbr0.proxy_arp": "0"},
    )  # fmt: skip

    def look(self, host: Host, asked: Asked) -> _State:
        text = read_text(host, xlconf.PATH)
        there = host.run(["test", "-e", f"/sys/class/net/{asked.card}"]).ok
        shown = host.run(["ip", "-4", "-o", "address", "show", "dev", asked.card]).stdout if there else ""
        return _State(
            line=xlconf.line_of(text or "", SCRIPT_KEY),
            gateway=xlconf.line_of(text or "", GATEWAY_KEY),
            text=text,
            settings=read_text(host, PATH),
            kernel={name: _now(host, name) for name in _wanted(asked)} if there else {},
            there=there,
            address=" inet " in shown,
            script=host.run(["test", "-e", f"{SCRIPTS}/{SCRIPT}"]).ok,
            ifconfig=host.run(["sh", "-c", "command -v ifconfig"]).ok,
            others=host.run(["sh", "-c", _STILL]).ok,
        )

    def refusals(self, state: _State, asked: Asked) -> tuple[Refusal, ...]:
        other, gateway = xlconf.value_of(state.line), xlconf.value_of(state.gateway)
        rules = (
            (state.there, "no-card", f"the host has no interface {asked.card}", "ip -br link names them"),
            (state.address or not state.there, "no-address",
             f"{asked.card} has no IPv4 address, which {SCRIPT} gives to guests' interfaces",
             "name the interface that has the host's address: with a bridge it is the bridge"),
            (state.script, "no-script", f"the host has no {SCRIPTS}/{SCRIPT}", "xen-utils-common brings it"),
            (state.ifconfig, "no-ifconfig", f"the host has no ifconfig, which {SCRIPT} calls: no guest would start",
             "in a lab file: packages: [net-tools]; else install it on the host"),
            (other in {None, "vif-bridge", SCRIPT}, "other-script", f"xl.conf says {other} for every interface already",
             "undo what put it there first"),
            (gateway in {None, asked.card} or state.settings is not None, "other-gateway",
             f"xl.conf says {gateway} is what guests are routed by", f"card={gateway}, or take the line away"),
        )  # fmt: skip
        return unmet(rules)

    def actions(self, state: _State, asked: Asked) -> tuple[Action, ...]:
        wanted = _with(state.text, f'{SCRIPT_KEY}="{SCRIPT}"', f'{GATEWAY_KEY}="{asked.card}"')
        lines = (xlconf.value_of(state.line), xlconf.value_of(state.gateway))
        todo = [*(() if lines == (SCRIPT, asked.card) else xlconf.change(state.text, wanted))]
        settings = _settings(asked)
        if state.settings != settings:
            todo.append(Write(PATH, settings))
        todo += [run("sysctl", "-q", "-w", f"{name}={value}") for name, value in _wanted(asked).items()
                 if state.kernel.get(name) != value]  # fmt: skip
        return tuple(todo)

    def undo(self, state: _State, before: _State, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        todo: list[Action] = []
        if (state.line, state.gateway) != (before.line, before.gateway):
            todo += xlconf.change(state.text, _with(state.text, before.line, before.gateway))
        if state.settings != before.settings:
            todo.append(as_it_was(PATH, before.settings))
        todo += [run("sysctl", "-q", "-w", f"{name}={value}") for name, value in before.kernel.items()
                 if state.kernel.get(name) != value and not (name == FORWARD and state.others)]  # fmt: skip
        return tuple(todo)

    def check_undone(self, world: World, host: Host, before: _State, asked: Asked) -> tuple[Evidence, ...]:
        now = self.look(host, asked)
        if now.others and FORWARD in now.kernel:
            before = before.model_copy(update={"kernel": {**before.kernel, FORWARD: now.kernel[FORWARD]}})
        return super().check_undone(world, host, before, asked)

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        paths = [word for name, value in _wanted(asked).items() for word in (_path(name), value)]
        host.run(["sh", "-c", _SET, "sh", *paths], timeout=1200)
        text = read_text(host, xlconf.PATH) or ""
        tried = try_script(host, SCRIPT, _ROUTE, gateway=asked.card, ip=_GUEST)
        return (
            same("script that xl runs for every new interface", SCRIPT, xlconf.setting(text, SCRIPT_KEY)),
            same("what it routes guests by", asked.card, xlconf.setting(text, GATEWAY_KEY)),
            *(same(f"the kernel's {name}", value, _now(host, name)) for name, value in _wanted(asked).items()),
            same("an interface made up for it, as the script left it", "connected", told(tried)),
            same(f"the kernel's way to {_GUEST} behind it", PROBE, tried.get("way", "none")),
        )


def _with(text: str | None, script: str | None, gateway: str | None) -> str:
    """xl.conf with these two lines."""
    return xlconf.with_line(xlconf.with_line(text or "", SCRIPT_KEY, script), GATEWAY_KEY, gateway)


def _wanted(asked: Asked) -> dict[str, str]:
    proxy = f"net.ipv4.conf.{asked.card}.proxy_arp"
    return {FORWARD: "1", proxy: str(int(asked.proxy_arp))}


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
        "no-address": "the interface has no IPv4 address",
        "no-script": "the host has no vif-route",
        "no-ifconfig": "the host has no ifconfig, without which vif-route fails",
        "other-script": "xl.conf has another script for every interface",
        "other-gateway": "xl.conf names another interface to route guests by",
    },
    drill=Drill(options={"card": "xenbr0"}, packages=("net-tools",)),
    dead=(
        Dead(
            says="(network-script network-route) (vif-script vif-route) in xend-config.sxp",
            why="xend is gone: forwarding is a setting of the kernel, the script one of xl.conf",
        ),
    ),
    bound=("card",),
)
