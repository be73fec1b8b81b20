"""A guest's interfaces locked to their MAC and to given addresses: what it sends under another name is dropped."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from builder.model.host import Host, World
from builder.model.lab import Value
from builder.procedures import xe
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
    Words,
    holds,
    run,
    same,
    unmet,
)  # fmt: skip
from builder.procedures.asking import ask, read_text

# Every bridge of Open vSwitch with its ports (number and name) and its rules: each line names the bridge, since every
# bridge counts its ports for itself. A VLAN's bridge is none to ovs-ofctl: what is on it is told of the one below it.
_FLOWS = r"""
for bridge in $(ovs-vsctl list-br); do
  ovs-ofctl show "$bridge" | sed -n "s/^ *\([0-9]*\)(\([^)]*\)).*/port $bridge \1 \2/p"
  ovs-ofctl dump-flows "$bridge" | sed -n "s/.*\(priority=\)/flow $bridge \1/p"
done
"""
# A rule as `ovs-ofctl dump-flows` prints it behind its counters: words and fields joined by commas, a space, and what
# is done. A port is its number; where names are asked for, its name, with quotes around those that have a dot.
_RULE = re.compile(r"(?P<match>\S*) actions=(?P<action>.*)")
_IN_PORT = re.compile(r'in_port=("[^"]+"|[^, ]+)')
_SENDERS = ("nw_src", "arp_spa", "ipv6_src", "nd_target")


def _addresses(version: int) -> AfterValidator:
    def check(words: tuple[str, ...]) -> tuple[str, ...]:
        found = [ipaddress.ip_address(word) for word in words]
        if any(each.version != version for each in found):
            raise ValueError(f"not all of these are IPv{version} addresses")
        return tuple(map(str, found))

    return AfterValidator(check)


class Asked(Options):
    guest: str = Field(pattern=r"^[A-Za-z0-9_.:-]+$", description="the guest's name or uuid")
    ipv4: Annotated[Words, _addresses(4)] = Field((), description="IPv4 addresses that it may send from")
    ipv6: Annotated[Words, _addresses(6)] = Field((), description="IPv6 addresses that it may send from")
    device: str = Field("0", pattern=r"^[0-9]+$", description="which of its interfaces, by its number")
    closed: bool = Field(False, description="guests on the same network that are not locked get and send nothing")


class Lock(Value):
    """What an interface is held to."""

    mode: str
    ipv4: tuple[str, ...]
    ipv6: tuple[str, ...]


class LockState(State):
    """`default` is what interfaces of the network have that say nothing themselves. `domain` is the running guest's
    number, empty when it does not run."""

    passing: ClassVar[frozenset[str]] = frozenset({"vif", "network", "backend", "mac", "domain"})

    vif: str
    network: str
    mac: str
    domain: str
    backend: str
    lock: Lock
    default: str


class _Xe(Way[Asked, LockState]):
    state = LockState
    sample = LockState(
        vif="VIF-UUID", network="NETWORK-UUID", mac="00:16:3e:00:00:01", domain="7", backend="openvswitch",
        lock=Lock(mode="network_default", ipv4=(), ipv6=()), default="unlocked",
    )  # fmt: skip

    def look(self, host: Host, asked: Asked) -> LockState:
        vm = xe.vm(host, asked.guest)
        found = xe.minimal(host, "vif-list", f"vm-uuid={vm}", f"device={asked.device}")
        vif = found[0] if found else ""
        network = xe.param(host, "vif", vif, "network-uuid") if vif else ""
        number = xe.param(host, "vm", vm, "dom-id")
        return LockState(
            vif=vif,
            network=network,
            mac=xe.param(host, "vif", vif, "MAC").lower() if vif else "",
            domain=number if number.isdigit() else "",
            backend=(read_text(host, "/etc/xensource/network.conf") or "").strip(),
            lock=Lock(
                mode=xe.param(host, "vif", vif, "locking-mode"),
                ipv4=_list(xe.param(host, "vif", vif, "ipv4-allowed")),
                ipv6=_list(xe.param(host, "vif", vif, "ipv6-allowed")),
            ) if vif else Lock(mode="", ipv4=(), ipv6=()),
            default=xe.param(host, "network", network, "default-locking-mode") if vif else "",
        )  # fmt: skip

    def refusals(self, state: LockState, asked: Asked) -> tuple[Refusal, ...]:
        rules = (
            (bool(state.vif), "no-vif", f"{asked.guest} has no interface {asked.device}", "xe vif-list names them"),
            (state.backend == "openvswitch", "bridge-backend",
             f"the host's network is done by {state.backend or 'an unknown backend'}: locks are rules of Open vSwitch",
             "xe-switch-network-backend openvswitch, without guests, and a restart"),
            (bool(asked.ipv4 or asked.ipv6), "no-address", "with no address at all the guest could send nothing",
             "ipv4= and ipv6= say what it may send from"),
        )  # fmt: skip
        return unmet(rules)

    def actions(self, state: LockState, asked: Asked) -> tuple[Action, ...]:
        wanted = Lock(mode="locked", ipv4=tuple(sorted(asked.ipv4)), ipv6=tuple(sorted(asked.ipv6)))
        todo = list(_lead(state.vif, state.lock, wanted))
        if asked.closed and state.default != "disabled":
            todo.append(_default(state.network, "disabled"))
        return tuple(todo)

    def undo(self, state: LockState, before: LockState, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        todo = list(_lead(state.vif, state.lock, before.lock))
        if state.default != before.default:
            todo.append(_default(state.network, before.default))
        return tuple(todo)

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        now = self.look(host, asked)
        found = [same("XAPI holds the interface to", "locked", now.lock.mode)]
        if asked.closed:
            found.append(same("interfaces of the network that say nothing themselves", "disabled", now.default))
        if not now.domain:
            return tuple(found)
        return (*found, *_enforced(host, f"vif{now.domain}.{asked.device}", now.mac, (*asked.ipv4, *asked.ipv6)))


@dataclass(frozen=True, slots=True)
class _Flow:
    """A rule of a bridge: whose frames it is for (a port's number or name, empty for all), and what else of them it
    looks at."""

    bridge: str
    port: str
    fields: Mapping[str, str]
    action: str


def _enforced(host: Host, name: str, mac: str, addresses: tuple[str, ...]) -> tuple[Evidence, ...]:
    """What Open vSwitch has for an interface, and has left of others."""
    ports, flows = _flows(host)
    bridge, number = next(((on, port) for (on, port), each in ports.items() if each == name), ("", ""))
    own = [flow for flow in flows if flow.bridge == bridge and flow.port in {number, name}]
    found = [_some(f"rules of Open vSwitch for {name} and its MAC",
                   [flow for flow in own if flow.fields.get("dl_src") == mac])]  # fmt: skip
    for address in addresses:
        known = [flow for flow in own if address in {flow.fields.get(key) for key in _SENDERS}]
        found.append(_some(f"rules that let {address} out", [flow for flow in known if flow.action != "drop"]))
    # single kinds of ICMPv6 are dropped as well: this is the rule that asks for nothing but where a frame comes from
    rest = [flow for flow in own if flow.action == "drop" and flow.fields.keys() <= {"priority", "in_port"}]
    found.append(_some("a rule that drops the rest", rest))
    there = {*ports, *((on, each) for (on, _), each in ports.items())}
    gone = {f"{flow.port} on {flow.bridge}" for flow in flows
            if flow.port not in {"", "LOCAL"} and (flow.bridge, flow.port) not in there}  # fmt: skip
    return (*found, same("rules for interfaces that are gone", "none", ", ".join(sorted(gone)) or "none"))


def _some(what: str, flows: list[_Flow]) -> Evidence:
    return holds(what, "one or more", str(len(flows)), bool(flows))


def _lead(vif: str, now: Lock, wanted: Lock) -> tuple[Action, ...]:
    """What leads from a lock to another. Addresses first: a lock without any lets nothing out."""
    todo: list[Action] = []
    for name, has, wants in (("ipv4", now.ipv4, wanted.ipv4), ("ipv6", now.ipv6, wanted.ipv6)):
        if has != wants and wants:
            todo.append(run("xe", "vif-param-set", f"uuid={vif}", f"{name}-allowed={','.join(wants)}"))
        elif has != wants:
            todo.append(run("xe", "vif-param-clear", f"uuid={vif}", f"param-name={name}-allowed"))
    mode = run("xe", "vif-param-set", f"uuid={vif}", f"locking-mode={wanted.mode}")
    if now.mode == wanted.mode:
        return tuple(todo)
    return (*todo, mode) if wanted.mode == "locked" else (mode, *todo)


def _default(network: str, mode: str) -> Action:
    return run("xe", "network-param-set", f"uuid={network}", f"default-locking-mode={mode}")


def _list(text: str) -> tuple[str, ...]:
    return tuple(sorted(filter(None, re.split(r"[;,]\s*", text.strip()))))


def _flows(host: Host) -> tuple[Mapping[tuple[str, str], str], list[_Flow]]:
    """The name of each port, by its bridge and number, and all rules."""
    rows = [row.split(" ", 2) for row in ask(host, "sh", "-c", _FLOWS).splitlines()]
    ports = {}
    for kind, bridge, rest in rows:
        if kind == "port":
            number, _, name = rest.partition(" ")
            ports[bridge, number] = name
    return ports, [_flow(bridge, rest) for kind, bridge, rest in rows if kind == "flow"]


def _flow(bridge: str, text: str) -> _Flow:
    rule = _RULE.fullmatch(text)
    match, action = (rule["match"], rule["action"]) if rule else (text, "")
    port = _IN_PORT.search(match)
    words = (word.partition("=") for word in match.split(","))
    return _Flow(bridge, port[1].strip('"') if port else "", {key: value for key, _, value in words}, action)


PROCEDURE = Procedure(
    name="vif-lock",
    title="A guest held to its own addresses",
    summary="What a guest sends under another MAC, or from another IPv4 or IPv6 address (ARP and neighbour discovery "
    "as well), is dropped. With closed=true, guests on the same network that are not locked get nothing: groups of "
    "guests that must not meet have a network each.",
    options=Asked,
    ways={"xe": _Xe()},
    sources=("XenServer notes: Guest isolation", "xapi: VIF locking modes", "ovs-ofctl(8)"),
    refuses={
        "no-vif": "the guest has no such interface",
        "bridge-backend": "the host's network is done by the Linux bridge",
        "no-address": "no address is given: the guest could send nothing",
    },
    drill=Drill(options={"guest": "web", "ipv4": "192.0.2.10"}, reason="it needs an XCP-ng host and a guest on it"),
    dead=(
        Dead(
            says="patch setup-vif-rules for a mode 'isolated', and scripts/vif against rules that are left behind",
            why="those patches are for XenServer 6.1; today rules go with the interface, which is looked at here, and "
            "groups are kept apart by networks",
        ),
    ),
    subject="guest",
    bound=("device",),
)
