"""A guest's interfaces locked to their MAC and to given addresses: what it sends under another name is dropped."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
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
# What Open vSwitch would do with frames that come from a port: a line with = before what it has to say of each. Nothing
# is sent, and nothing learned: it does that with whole packets only, not with what is said of their heads. The traces
# of 2.5, which XCP-ng 8.2 has, look different, and have the same line at the end.
_TRACE = r"""
bridge=$1 port=$2; shift 2
for frame; do
  echo =
  ovs-appctl ofproto/trace "$bridge" "in_port=$port,$frame"
done | sed -n 's/^Datapath actions: //p; /^=$/p'
"""
# A rule as `ovs-ofctl dump-flows` prints it behind its counters: words and fields joined by commas, a space, and what
# is done. A port is its number; where names are asked for, its name, with quotes around those that have a dot.
_RULE = re.compile(r"(?P<match>\S*) actions=(?P<action>.*)")
_IN_PORT = re.compile(r'in_port=("[^"]+"|[^, ]+)')
_SENDERS = ("nw_src", "arp_spa", "ipv6_src", "nd_target")
# Kinds of ICMPv6 that make a router of who sends them, or lead others' packets away: dropped from any address.
_ROUTERS = (134, 137, 146, 147, 151, 152, 153)
_ANYBODY, _OTHERS = "02:00:00:00:00:01", "02:00:00:00:00:02"


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
    number, empty when it does not run; `attached` is how many interfaces of guests are on the network just now."""

    passing: ClassVar[frozenset[str]] = frozenset({"vif", "network", "backend", "mac", "domain", "attached"})

    vif: str
    network: str
    mac: str
    domain: str
    backend: str
    lock: Lock
    default: str
    attached: int = 0


class _Xe(Way[Asked, LockState]):
    state = LockState
    sample = LockState(
        vif="VIF-UUID", network="NETWORK-UUID", mac="00:16:3e:00:00:01", domain="7", backend="openvswitch",
        lock=Lock(mode="network_default", ipv4=(), ipv6=()), default="unlocked", attached=0,
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
            attached=len(xe.minimal(host, "vif-list", f"network-uuid={network}", "currently-attached=true"))
            if vif else 0,
        )  # fmt: skip

    def refusals(self, state: LockState, asked: Asked) -> tuple[Refusal, ...]:
        rules = (
            (bool(state.vif), "no-vif", f"{asked.guest} has no interface {asked.device}", "xe vif-list names them"),
            (state.backend == "openvswitch", "bridge-backend",
             f"the host's network is done by {state.backend or 'an unknown backend'}: locks are rules of Open vSwitch",
             "xe-switch-network-backend openvswitch, without guests, and a restart"),
            (bool(asked.ipv4 or asked.ipv6), "no-address", "with no address at all the guest could send nothing",
             "ipv4= and ipv6= say what it may send from"),
            # XAPI answers VIF_IN_USE otherwise (set_default_locking_mode in its xapi_network.ml)
            (not (asked.closed and state.default != "disabled" and state.attached), "network-in-use",
             f"{state.attached} interfaces of guests are on the network: XAPI changes their default only while there "
             "are none", "shut the network's guests down first, or leave closed= out"),
        )  # fmt: skip
        return unmet(rules)

    def actions(self, state: LockState, asked: Asked) -> tuple[Action, ...]:
        wanted = Lock(mode="locked", ipv4=tuple(sorted(asked.ipv4)), ipv6=tuple(sorted(asked.ipv6)))
        closing = asked.closed and state.default != "disabled"
        return (*((_default(state.network, "disabled"),) if closing else ()), *_lead(state.vif, state.lock, wanted))

    def undo(self, state: LockState, before: LockState, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        # what XAPI can say no to comes first: the lock stays then
        opening = state.default != before.default
        return (*((_default(state.network, before.default),) if opening else ()),
                *_lead(state.vif, state.lock, before.lock))  # fmt: skip

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        now = self.look(host, asked)
        found = [same("XAPI holds the interface to", "locked", now.lock.mode)]
        if asked.closed:
            found.append(same("interfaces of the network that say nothing themselves", "disabled", now.default))
        if not now.domain:
            return tuple(found)
        return (*found, *_enforced(host, f"{now.domain}.{asked.device}", now.mac, (*asked.ipv4, *asked.ipv6)))


@dataclass(frozen=True, slots=True)
class _Flow:
    """A rule of a bridge: whose frames it is for (a port's number or name, empty for all), and what else of them it
    looks at (`fields`, and as it is printed)."""

    bridge: str
    port: str
    match: str
    fields: Mapping[str, str]
    action: str


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame that a guest could send: by whom, of what kind, if it may, and its head as ovs-appctl(8) takes it."""

    sender: str
    kind: str
    own: bool
    flow: str


def frames(mac: str, addresses: Sequence[str]) -> Iterator[Frame]:
    """What a guest with this lock may send, and what it must not be able to: one address of a kind stands for all."""
    for kind, flow in (("DHCP", _dhcp(mac)), ("ARP", _arp(mac, "0.0.0.0"))):  # noqa: S104 - no address, not all
        yield Frame("without an address", kind, True, flow)
    for ip in addresses:
        for kind, flow in _from(mac, ip).items():
            yield Frame(f"from {ip}", kind, True, flow)
    for sender, kinds in _spoofed(mac, addresses):
        for kind, flow in kinds.items():
            yield Frame(sender, kind, False, flow)


def _spoofed(mac: str, addresses: Sequence[str]) -> Iterator[tuple[str, Mapping[str, str]]]:
    other = _OTHERS if mac != _OTHERS else _ANYBODY
    ip4, ip6 = (next(str(ip) for ip in ipaddress.ip_network(net).hosts() if str(ip) not in addresses)
                for net in ("192.0.2.0/24", "2001:db8::/64"))  # fmt: skip
    yield "under another MAC", {"DHCP": _dhcp(other)}
    for ip in {":" in ip: ip for ip in reversed(addresses)}.values():
        yield f"under another MAC from {ip}", _from(other, ip)
        inside = {"ARP": _arp(mac, ip, other)} if ":" not in ip else _neighbours(mac, ip, other, ip6)
        yield f"from {ip} that name another", inside
        if ":" in ip:
            yield f"as a router from {ip}", {f"ICMPv6 {number}": _icmpv6(mac, ip, number) for number in _ROUTERS}
    yield "from another's address", {**_from(mac, ip4), **_from(mac, ip6)}
    yield "of no such kind", {"0x88b5": f"dl_src={mac},dl_dst={_ANYBODY},dl_type=0x88b5"}


def _from(mac: str, ip: str) -> Mapping[str, str]:
    """What is sent from an address: what asks for others' and answers for it, and one of each kind that rules tell."""
    if ":" not in ip:
        return {"ARP": _arp(mac, ip), "TCP": f"{_head(mac, 'tcp')},nw_src={ip}"}
    above = {f"{kind} by IPv6": f"{_head(mac, f'{kind.lower()}6')},ipv6_src={ip}" for kind in ("TCP", "UDP")}
    return {**_neighbours(mac, ip, mac, ip), "ICMPv6": _icmpv6(mac, ip, 128), **above}


def _head(mac: str, kind: str) -> str:
    return f"{kind},dl_src={mac},dl_dst={_ANYBODY}"


def _dhcp(mac: str) -> str:
    return f"{_head(mac, 'udp')},nw_src=0.0.0.0,nw_dst=255.255.255.255,udp_src=68,udp_dst=67"


def _arp(mac: str, ip: str, inside: str = "") -> str:
    return f"{_head(mac, 'arp')},arp_op=1,arp_spa={ip},arp_sha={inside or mac}"


def _icmpv6(mac: str, ip: str, number: int) -> str:
    return f"{_head(mac, 'icmp6')},ipv6_src={ip},icmpv6_type={number},icmpv6_code=0"


def _neighbours(mac: str, ip: str, inside: str, target: str) -> dict[str, str]:
    """Neighbour discovery: a question that says by which MAC the asking is reached, and whose address is answered."""
    return {"neighbour solicitation": f"{_icmpv6(mac, ip, 135)},nd_target=2001:db8::ffff,nd_sll={inside}",
            "neighbour advertisement": f"{_icmpv6(mac, ip, 136)},nd_target={target}"}  # fmt: skip


def _enforced(host: Host, number: str, mac: str, addresses: tuple[str, ...]) -> tuple[Evidence, ...]:
    """What Open vSwitch does with frames of an interface, and has left of others. Guests without drivers for Xen send
    by a second device, of QEMU, that is held to the same."""
    ports, flows = _flows(host)
    names = [f"{kind}{number}" for kind in ("vif", "tap")]
    found = [same(f"{each} is on a bridge of Open vSwitch", "yes", "yes" if each in ports.values() else "no")
             for each in names if each in ports.values() or each == names[0]]  # fmt: skip
    for (bridge, port), name in ports.items():
        if name in names:
            found += _judged(host, (bridge, port, name), list(frames(mac, addresses)))
            own = [flow for flow in flows if flow.bridge == bridge and flow.port in {port, name}]
            more = [flow.match for flow in own if _is_more(flow, mac, addresses)]
            found.append(same(f"rules that let {name} send as others", "none", "; ".join(more) or "none"))
    there = {*ports, *((on, each) for (on, _), each in ports.items())}
    gone = {f"{flow.port} on {flow.bridge}" for flow in flows
            if flow.port not in {"", "LOCAL"} and (flow.bridge, flow.port) not in there}  # fmt: skip
    return (*found, same("rules for interfaces that are gone", "none", ", ".join(sorted(gone)) or "none"))


def _judged(host: Host, port: tuple[str, str, str], asked: Sequence[Frame]) -> Iterator[Evidence]:
    """What becomes of these frames of a port: one line for each that sends them."""
    bridge, number, name = port
    said = ask(host, "sh", "-c", _TRACE, "sh", bridge, number, *(frame.flow for frame in asked)).split("=\n")[1:]
    fates = {frame: {"": "no answer", "drop": "dropped"}.get(each.strip(), "passes")
             for frame, each in zip(asked, said, strict=True)}  # fmt: skip
    for sender in dict.fromkeys(frame.sender for frame in asked):
        kinds = [frame for frame in asked if frame.sender == sender]
        wanted = "passes" if kinds[0].own else "dropped"
        wrong = [f"{frame.kind} {fates[frame]}" for frame in kinds if fates[frame] != wanted]
        what = f"frames of {name} {sender} ({', '.join(frame.kind for frame in kinds)})"
        yield same(what, wanted, ", ".join(wrong) or wanted)


def _is_more(flow: _Flow, mac: str, addresses: tuple[str, ...]) -> bool:
    """If a rule lets out what the lock does not: as one does that was left behind by whoever had the port before."""
    senders = {flow.fields[key] for key in _SENDERS if key in flow.fields}
    dhcp = "udp" in flow.fields and flow.fields.get("tp_dst") == "67"
    own = dhcp or (bool(senders) and senders <= {*addresses, "0.0.0.0"})  # noqa: S104 - no address, not all
    return flow.action != "drop" and not (own and flow.fields.get("dl_src") == mac)


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
    return _Flow(bridge, port[1].strip('"') if port else "", match, {key: value for key, _, value in words}, action)


PROCEDURE = Procedure(
    name="vif-lock",
    title="A guest held to its own addresses",
    summary="What a guest sends under another MAC, or from another IPv4 or IPv6 address (ARP and neighbour discovery "
    "as well), is dropped. XAPI makes one exception: UDP to port 67, for DHCP, is let out from any IPv4 address. With "
    "closed=true, guests on the same network that are not locked get nothing: groups of guests that must not meet have "
    "a network each.",
    options=Asked,
    ways={"xe": _Xe()},
    sources=("XenServer notes: Guest isolation", "xapi: VIF locking modes", "ovs-ofctl(8)"),
    refuses={
        "no-vif": "the guest has no such interface",
        "bridge-backend": "the host's network is done by the Linux bridge",
        "no-address": "no address is given: the guest could send nothing",
        "network-in-use": "closed=true, while guests are on the network: XAPI refuses it",
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
