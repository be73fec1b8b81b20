"""A bridge for guests: over a card of its own, with an address or without, or over none, behind the host's address."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from builder.model.host import Host, World
from builder.model.lab import Value
from builder.procedures.api import (
    Action,
    Dead,
    Drill,
    Evidence,
    Options,
    Procedure,
    Refusal,
    Remove,
    State,
    Way,
    Words,
    Write,
    holds,
    run,
    same,
    unmet,
)  # fmt: skip
from builder.procedures.asking import ask, listed, read_text
from builder.procedures.vifs import FORWARDED

# Cards and bridges, one a line: name, bridge it is a port of (or -), MTU, what it is (card, bridge, other), addresses.
# Then which of them the way to whoever asks goes over, with all that lies below it; and how large an MTU each takes.
_LINKS = r"""
for path in /sys/class/net/*; do
  name=${path##*/} master=- kind=other
  [ ! -e "$path/master" ] || master=$(basename "$(readlink -f "$path/master")")
  [ ! -e "$path/device" ] || kind=card
  [ ! -d "$path/bridge" ] || kind=bridge
  echo "link $name $master $(cat "$path/mtu") $kind" $(ip -o address show dev "$name" scope global | awk '{print $4}')
done
way=$(ip -o route get "${SSH_CONNECTION%% *}" 2>/dev/null | sed -n 's/.* dev \([^ ]*\).*/\1/p')
for port in $way $(ls "/sys/class/net/$way/brif" 2>/dev/null); do echo "way $port"; done
ip -o route show default | sed -n 's/.* dev \([^ ]*\).*/way \1/p'
ip -d -o link show | sed -n 's/^[0-9]*: \([^:@]*\).* maxmtu \([0-9]*\).*/most \1 \2/p'
echo "forwards $(cat /proc/sys/net/ipv4/ip_forward)"
command -v nft >/dev/null && echo nft
:
"""
# A host that has just started answers before its last service is up.
_UP = 'for i in $(seq 120); do systemctl -q is-active "$1" && break; sleep 1; done'
# Others may have asked for it meanwhile.
_NO_FORWARD = FORWARDED + 'asked "$1" || sysctl -q -w net.ipv4.ip_forward=0\n'
_FORWARDS = "cat /proc/sys/net/ipv4/ip_forward; nft list table ip {table} 2>/dev/null"
# $1 bridge, $2 its address, then addresses with their prefix: one that nobody has is a made-up guest's. It asks a
# network behind the host, made up as well, which knows the host alone and can answer only what comes from its address.
_TRY_NAT = """\
bridge=$1 gateway=$2
shift 2
if command -v busybox >/dev/null; then ask='busybox ping'; else ask=ping; fi
for guest in "$@"; do $ask -c 1 -W 1 "${guest%/*}" >/dev/null 2>&1 || break; done
trap 'ip netns delete nestlab-guest; ip netns delete nestlab-outside' EXIT
ip netns add nestlab-guest && ip netns add nestlab-outside || exit 1
ip link add name nestlab-nat0 type veth peer name eth0 netns nestlab-guest || exit 1
ip link set dev nestlab-nat0 master "$bridge" up
ip -n nestlab-guest address add "$guest" dev eth0
ip -n nestlab-guest link set dev eth0 up
ip -n nestlab-guest route add default via "$gateway"
ip link add name nestlab-nat1 type veth peer name eth0 netns nestlab-outside || exit 1
ip address add 192.0.2.253/30 dev nestlab-nat1
ip link set dev nestlab-nat1 up
ip -n nestlab-outside address add 192.0.2.254/30 dev eth0
ip -n nestlab-outside link set dev eth0 up
for i in 1 2 3 4 5; do
  ip netns exec nestlab-guest $ask -c 1 -W 2 192.0.2.254 >/dev/null && echo answered && exit
done
echo silence
"""


def _with_prefix(words: tuple[str, ...]) -> tuple[str, ...]:
    """Addresses as the kernel shows them. Raises ValueError for what is none, or says no prefix."""
    if lone := [word for word in words if "/" not in word]:
        raise ValueError(f"{lone[0]} says no prefix: write {lone[0]}/24")
    return tuple(str(ipaddress.ip_interface(word)) for word in words)


class Asked(Options):
    name: str = Field("xenbr9", pattern=r"^[a-z][a-z0-9_.-]{0,14}$", description="the bridge's name")
    card: str = Field("", pattern=r"^[A-Za-z0-9_.@-]*$", description="the card that it is over; without, over none")
    address: Annotated[Words, AfterValidator(_with_prefix)] = Field(
        (), description="the bridge's own addresses, such as 10.9.0.1/24; it may have none"
    )
    mtu: int = Field(
        1500, ge=576, le=9216, description="MTU; 1504 carries 1,500 bytes with a VLAN tag to a router guest"
    )
    nat: bool = Field(False, description="guests reach other networks by this host's address (no card, one address)")


class Link(Value):
    """A network interface. `kind` is card, bridge or other."""

    master: str
    mtu: int
    kind: str
    addresses: tuple[str, ...]


class BridgeState(State):
    """`unit` is our service, `rules` the file of address translation; `there`: an interface of that name exists.
    `vital` are the interfaces that carry the way to this host; `forwards`: 1 where packets go on to other networks.
    `active` is our service, which failed where the bridge is there without it; `most` the largest MTU of interfaces."""

    passing: ClassVar[frozenset[str]] = frozenset({"links", "vital", "nft", "forwards", "active", "most"})

    unit: str | None
    rules: str | None
    there: bool
    links: Mapping[str, Link]
    vital: tuple[str, ...]
    nft: bool
    forwards: str = ""
    active: bool = True
    most: Mapping[str, int] = {}


def _unit_path(name: str) -> str:
    return f"/etc/systemd/system/nestlab-bridge-{name}.service"


def _rules_path(name: str) -> str:
    return f"/etc/nestlab-bridge-{name}.nft"


class _Xl(Way[Asked, BridgeState]):
    state = BridgeState
    sample = BridgeState(
        unit=None, rules=None, there=False, vital=("xenbr0", "eth0"), nft=True,
        links={"eth1": Link(master="-", mtu=1500, kind="card", addresses=())},
    )  # fmt: skip

    def look(self, host: Host, asked: Asked) -> BridgeState:
        rows = [line.split() for line in ask(host, "sh", "-c", _LINKS).splitlines()]
        links = {row[1]: Link(master=row[2], mtu=int(row[3]), kind=row[4], addresses=tuple(row[5:]))
                 for row in rows if row[0] == "link"}  # fmt: skip
        return BridgeState(
            unit=read_text(host, _unit_path(asked.name)),
            rules=read_text(host, _rules_path(asked.name)),
            there=asked.name in links,
            links=links,
            vital=tuple(dict.fromkeys(row[1] for row in rows if row[0] == "way")),
            nft=["nft"] in rows,
            forwards=next((row[1] for row in rows if row[0] == "forwards" and row[1:]), ""),
            active=host.run(["systemctl", "-q", "is-active", _unit_name(asked)]).ok,
            most={row[1]: int(row[2]) for row in rows if row[0] == "most"},
        )

    def refusals(self, state: BridgeState, asked: Asked) -> tuple[Refusal, ...]:
        card = state.links.get(asked.card)
        ours = state.unit is not None
        held = next(
            (
                name
                for name, link in state.links.items()
                for each in asked.address
                if name not in {asked.name, asked.card} and any(_meet(each, own) for own in link.addresses)
            ),
            "",
        )
        most = state.most.get(asked.card, 0)
        rules = (
            (ours or not state.there, "name-taken", f"an interface of the name {asked.name} is there, and is not ours",
             "another name="),
            (not asked.card or card is not None, "no-card", f"the host has no card {asked.card}",
             f"it has {listed([name for name, link in state.links.items() if link.kind == 'card'])}"),
            (asked.card not in state.vital, "management", f"{asked.card} carries the way to this host: it would be cut",
             "another card; the network that the host is managed by gets its bridge when the host is set up"),
            (card is None or card.master in {"-", asked.name}, "other-bridge",
             f"{asked.card} is a port of {card.master if card else ''} already", "a card is over one bridge"),
            (card is None or ours or not card.addresses or set(card.addresses) <= set(asked.address), "has-address",
             f"{asked.card} has {listed(card.addresses if card else ())}, which a port of a bridge loses",
             "address= gives it to the bridge"),
            (not held, "address-taken", f"{held} has one of these addresses, or one of their network: "
             "what is for one of the two would go to the other", "another address="),
            (not most or asked.mtu <= most, "mtu", f"{asked.card} takes an MTU of {most} at most", f"mtu={most}"),
            (not asked.nat or (len(asked.address) == 1 and ":" not in asked.address[0] and not asked.card),
             "nat-needs-address", "nat=true is for a bridge over no card with one IPv4 address",
             "address=10.9.0.1/24, and no card="),
            (not asked.nat or state.nft, "no-nft", "the host has no nft",
             "in a lab file: packages: [nftables]; else install it on the host"),
        )  # fmt: skip
        return unmet(rules)

    def actions(self, state: BridgeState, asked: Asked) -> tuple[Action, ...]:
        unit, rules = _unit(asked), _nat(asked)
        card = state.links.get(asked.card)
        up = state.there and state.active and (card is None or card.master == asked.name)
        if (state.unit, state.rules) == (unit, rules) and up:
            return ()
        stop = _away(state, asked) if state.unit is not None and state.there else ()
        files: tuple[Action, ...] = (Write(_unit_path(asked.name), unit),)
        if rules is not None:
            files = (Write(_rules_path(asked.name), rules), *files)
        elif state.rules is not None:
            files = (Remove(_rules_path(asked.name)), *files)
        return (*stop, *files, run("systemctl", "daemon-reload"), _service("enable", asked.name),
                _service("restart", asked.name))  # fmt: skip

    def undo(self, state: BridgeState, before: BridgeState, asked: Asked) -> tuple[Action, ...]:
        """The files go last: as long as they are there it can be done again from the start."""
        todo: list[Action] = []
        if state.unit is not None and before.unit is None:
            todo += [_service("disable", asked.name), *_away(state, asked)]
            todo += [Remove(_unit_path(asked.name)), run("systemctl", "daemon-reload")]
        if state.rules is not None and before.rules is None:
            todo.insert(max(len(todo) - 2, 0), Remove(_rules_path(asked.name)))
        if not todo:
            return ()
        back: list[Action] = []
        if asked.nat and before.forwards == "0":
            back.append(run("sh", "-c", _NO_FORWARD, "sh", _unit_path(asked.name)))
        card = before.links.get(asked.card)
        if card is not None:
            back += [run("ip", "address", "replace", each, "dev", asked.card) for each in card.addresses]
            back.append(run("ip", "link", "set", "dev", asked.card, "mtu", str(card.mtu), "up"))
        files = next(number for number, each in enumerate(todo) if isinstance(each, Remove))
        return (*todo[:files], *back, *todo[files:])

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        host.run(["sh", "-c", _UP, "sh", _unit_name(asked)], timeout=1200)
        now = self.look(host, asked).links
        made = now.get(asked.name)
        ports = [name for name, link in now.items() if link.master == asked.name]
        found = [
            same(f"what {asked.name} is", "bridge", made.kind if made else "absent"),
            same(f"addresses of {asked.name}", listed(asked.address), listed(made.addresses if made else ())),
            same(f"MTU of {asked.name}", asked.mtu, made.mtu if made else 0),
            same("it is made at each start", True, host.run(["systemctl", "-q", "is-enabled", _unit_name(asked)]).ok),
        ]
        if asked.card:
            found.append(holds(f"ports of {asked.name}", asked.card, listed(ports), asked.card in ports))
            port = now.get(asked.card)
            found.append(same(f"addresses of {asked.card}", "none", listed(port.addresses if port else ())))
        if asked.nat:
            shown = ask(host, "sh", "-c", _FORWARDS.format(table=_table(asked.name)))
            found.append(same("the host forwards packets", "1", shown.partition("\n")[0]))
            found.append(same("the kernel's own list of rules has the translation", True, "masquerade" in shown))
            found.append(same("what a made-up guest hears from a network that knows the host alone", "answered",
                              try_nat(host, asked.name, asked.address[0])))  # fmt: skip
        return tuple(found)


def try_nat(host: Host, bridge: str, address: str) -> str:
    """`answered` where a guest on the bridge reaches other networks by the host's address, `silence` where not."""
    own = ipaddress.ip_interface(address)
    last = [str(own.network[-number]) for number in (2, 3, 4) if number < own.network.num_addresses]
    guests = [f"{each}/{own.network.prefixlen}" for each in last if each != str(own.ip)]
    done = host.run(["sh", "-c", _TRY_NAT, "sh", bridge, str(own.ip), *guests], timeout=1200)
    return done.stdout.strip() or done.stderr.strip() or "nothing"


def _meet(one: str, other: str) -> bool:
    """Whether two addresses are of one network; that of a point-to-point interface is alone in its own."""
    asked, held = ipaddress.ip_interface(one), ipaddress.ip_interface(other)
    if asked.version != held.version or held.network.num_addresses == 1:
        return asked.ip == held.ip
    return bool(asked.network.overlaps(held.network))


# A guest's configuration may call its interface by any name.
_NO_GUESTS = r"""
for port in "/sys/class/net/$1/brif/"*; do
  name=${port##*/}
  case "$name" in vif* | tap*) echo "$name" >&2; exit 1 ;; esac
  for own in /sys/bus/xen-backend/devices/vif-*/net/"$name"; do
    [ ! -e "$own" ] || { echo "$name" >&2; exit 1; }
  done
done
"""


def _away(state: BridgeState, asked: Asked) -> tuple[Action, ...]:
    """A service that did not come up is not stopped: systemd does not run what stops it."""
    hint = "guests are on the bridge and would lose their network: stop them"
    guests = run("sh", "-c", _NO_GUESTS, "sh", asked.name, hint=hint)
    if state.active or not state.there:
        return (guests, _service("stop", asked.name))
    rules = (run("nft", "delete", "table", "ip", _table(asked.name), fine=(1,)),) if state.rules is not None else ()
    return (guests, run("ip", "link", "delete", "dev", asked.name), *rules)


def _service(verb: str, name: str) -> Action:
    fine = (5,) if verb == "stop" else ()
    return run("systemctl", verb, f"nestlab-bridge-{name}.service", seconds=120, fine=fine)


def _unit_name(asked: Asked) -> str:
    return f"nestlab-bridge-{asked.name}.service"


def _table(name: str) -> str:
    return "nestlab_" + re.sub(r"[^a-z0-9]", "_", name)


def _unit(asked: Asked) -> str:
    name = asked.name
    up = [f"ip link add name {name} mtu {asked.mtu} type bridge stp_state 0 forward_delay 0"]
    down = [f"ip link delete dev {name}"]
    if asked.card:
        up += [f"ip address flush dev {asked.card} scope global",
               f"ip link set dev {asked.card} mtu {asked.mtu} master {name} up"]  # fmt: skip
    up += [f"ip address add {address} dev {name}" for address in asked.address]
    up.append(f"ip link set dev {name} mtu {asked.mtu} up")
    if asked.nat:
        up += ["sysctl -q -w net.ipv4.ip_forward=1", f"nft -f {_rules_path(name)}"]
        down.append(f"nft delete table ip {_table(name)}")
    card = f"sys-subsystem-net-devices-{_escaped(asked.card)}.device"
    waits = f"Wants={card}\nAfter={card}\n" if asked.card else ""
    commands = [f"ExecStart={command}" for command in up] + [f"ExecStop=-{command}" for command in down]
    return (
        f"# Written by `nestlab procedure run`: bridge.\n[Unit]\nDescription=Bridge {name} for guests\n{waits}"
        "After=network-pre.target networking.service nestlab-network.service\nBefore=xendomains.service\n\n"
        "[Service]\nType=oneshot\nRemainAfterExit=yes\n"
        + "".join(f"{line}\n" for line in commands)
        + "\n[Install]\nWantedBy=multi-user.target\n"
    )


def _escaped(card: str) -> str:
    """A name within the name of a device unit: systemd writes other characters as bytes."""
    return re.sub(r"[^A-Za-z0-9_.:]", lambda found: f"\\x{ord(found[0]):02x}", card)


def _nat(asked: Asked) -> str | None:
    if not asked.nat or not asked.address:
        return None
    network = ipaddress.ip_interface(asked.address[0]).network
    return (
        f"# Written by `nestlab procedure run`: bridge, nat=true.\ntable ip {_table(asked.name)} {{\n"
        "  chain postrouting {\n    type nat hook postrouting priority srcnat; policy accept;\n"
        f'    ip saddr {network} oifname != "{asked.name}" masquerade\n  }}\n}}\n'
    )


PROCEDURE = Procedure(
    name="bridge",
    title="A bridge for guests",
    summary="A bridge over a card of its own (with addresses or without), or over no card: for guests among "
    "themselves, or with nat=true for guests that reach other networks by the host's address. A service makes it at "
    "each start, before guests are started; a guest's vif names it: bridge=xenbr9. XAPI makes a bridge for every "
    "card by itself.",
    options=Asked,
    ways={"xl": _Xl()},
    sources=(
        "Debian wiki: Xen, Configure Networking; BridgeNetworkConnections",
        "NetBSD Xen HowTo: Virtual Networking (bridging and NAT)",
        "openSUSE xen README: Networking",
        "ip-link(8), nft(8), systemd.service(5)",
    ),
    refuses={
        "name-taken": "an interface of that name is there",
        "no-card": "the host has no such card",
        "management": "the card carries the way to the host",
        "other-bridge": "the card is a port of another bridge",
        "has-address": "the card has addresses that the bridge is not given",
        "address-taken": "another interface has the address, or one of its network",
        "mtu": "the card does not take so large an MTU",
        "nat-needs-address": "nat=true without an address of its own, or over a card",
        "no-nft": "nat=true, and the host has no nft",
    },
    drill=Drill(options={"name": "xenbr9", "address": "10.99.0.1/24", "mtu": "1504"}),
    dead=(
        Dead(
            says="(network-script network-bridge) in xend-config.sxp",
            why="xend is gone, and its scripts renamed the host's card while it was in use",
        ),
        Dead(
            says="bridge_ports eth0 in /etc/network/interfaces",
            why="still right on a host that ifupdown sets up; a service does the same on hosts without it as well",
        ),
    ),
    subject="name",
    bound=("card",),
)
