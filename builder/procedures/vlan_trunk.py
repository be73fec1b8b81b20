"""All VLANs of a card to one guest, which routes between them: a tag around 1,500 bytes needs an MTU of 1504."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from builder.errors import LabError
from builder.model.host import Host, World
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
    run,
    same,
)  # fmt: skip
from builder.procedures.asking import ask, xe_host


class Asked(Options):
    card: str = Field(pattern=r"^[A-Za-z0-9_.-]+$", description="the host's card that the VLANs come to, tagged: eth1")
    mtu: int = Field(1504, ge=1500, le=9216, description="1504 is 1500 with a tag; two tags need 1508")


class TrunkState(State):
    """`network` is the card's own, untagged one; `plugged` are interfaces of running guests on it. `management` is
    true where the way to the host goes over the card, by one of its VLANs too; `address` is the host's own on it.
    `card_mtu` is what it was plugged in with, `attached` whether it is."""

    passing: ClassVar[frozenset[str]] = frozenset(
        {"pif", "network", "management", "plugged", "bridge", "address", "card_mtu"}
    )

    pif: str
    network: str
    bridge: str
    management: str
    mtu: str
    plugged: tuple[str, ...]
    address: str = ""
    card_mtu: str = ""
    attached: str = "true"


class _Xe(Way[Asked, TrunkState]):
    state = TrunkState
    sample = TrunkState(
        pif="PIF-UUID",
        network="NETWORK-UUID",
        bridge="xenbr1",
        management="false",
        mtu="1500",
        plugged=(),
        card_mtu="1500",
    )

    def look(self, host: Host, asked: Asked) -> TrunkState:
        on_card = ("pif-list", f"host-uuid={xe_host(host)}", f"device={asked.card}")
        found = xe.minimal(host, *on_card, "VLAN=-1")
        if len(found) != 1:
            raise LabError(f"{host.name} has no card {asked.card} that XAPI knows", hint="xe pif-list names them")
        pif = found[0]
        network = xe.param(host, "pif", pif, "network-uuid")
        return TrunkState(
            pif=pif,
            network=network,
            bridge=xe.param(host, "network", network, "bridge"),
            management=str(bool(xe.minimal(host, *on_card, "management=true"))).lower(),
            mtu=xe.param(host, "network", network, "MTU"),
            plugged=xe.minimal(host, "vif-list", f"network-uuid={network}", "currently-attached=true"),
            address=xe.param(host, "pif", pif, "IP"),
            card_mtu=xe.param(host, "pif", pif, "MTU"),
            attached=xe.param(host, "pif", pif, "currently-attached"),
        )

    def refusals(self, state: TrunkState, asked: Asked) -> tuple[Refusal, ...]:
        found = []
        if state.management == "true":
            found.append(Refusal(code="management", message=f"{asked.card} carries the way to this host",
                                 hint="another card for the trunk"))  # fmt: skip
        if state.address:
            found.append(Refusal(code="has-address", message=f"{asked.card} has {state.address}, which the host would "
                                 "lose for a moment, and storage that it reaches by it",
                                 hint="another card for the trunk"))  # fmt: skip
        if state.plugged:
            found.append(Refusal(
                code="guests-on-it", message=f"{len(state.plugged)} interfaces of running guests are on its network",
                hint="shut these guests down, or unplug the interfaces: the network goes away for a moment",
            ))  # fmt: skip
        return tuple(found)

    def actions(self, state: TrunkState, asked: Asked) -> tuple[Action, ...]:
        return _lead(state, str(asked.mtu))

    def undo(self, state: TrunkState, before: TrunkState, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        if before.attached == "true":
            return _lead(state, before.mtu)
        # what nobody had plugged in takes its MTU when somebody does
        return (*_set(state, before.mtu), *((_plug("unplug", state),) if state.attached == "true" else ()))

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        now = self.look(host, asked)
        return (
            same("MTU of the network by XAPI", str(asked.mtu), now.mtu),
            same("MTU of the card by XAPI", str(asked.mtu), xe.param(host, "pif", now.pif, "MTU")),
            *(
                same(f"MTU of {name} by the kernel", str(asked.mtu), _mtu(host, name))
                for name in (asked.card, now.bridge)
            ),
        )


def _lead(state: TrunkState, mtu: str) -> tuple[Action, ...]:
    """MTUs of cards and interfaces are read-only fields: they take the network's when they are plugged in."""
    change = _set(state, mtu)
    if not change and state.attached == "true" and state.card_mtu == mtu:
        return ()
    return (*change, *((_plug("unplug", state),) if state.attached == "true" else ()), _plug("plug", state))


def _set(state: TrunkState, mtu: str) -> tuple[Action, ...]:
    return () if state.mtu == mtu else (run("xe", "network-param-set", f"uuid={state.network}", f"MTU={mtu}"),)


def _plug(how: str, state: TrunkState) -> Action:
    return run("xe", f"pif-{how}", f"uuid={state.pif}", seconds=120)


def _mtu(host: Host, name: str) -> str:
    return ask(host, "cat", f"/sys/class/net/{name}/mtu").strip()


PROCEDURE = Procedure(
    name="vlan-trunk",
    title="A VLAN trunk for a router guest",
    summary="The network of a card that VLANs come to, tagged, carries whole packets with their tags: a guest with an "
    "interface on it routes between them. On plain Xen that is bridge card=... mtu=1504. Up to seven VLANs can be "
    "networks of their own instead, each with an interface of the guest: seven is the limit.",
    options=Asked,
    ways={"xe": _Xe()},
    sources=("XCP-ng guide: VLAN Trunking in a VM", "xapi: network MTU"),
    refuses={
        "management": "the card carries the way to the host",
        "has-address": "the host has an address on the card: of storage, for one",
        "guests-on-it": "interfaces of running guests are on the network",
    },
    drill=Drill(
        options={"card": "eth1"}, reason="it needs an XCP-ng host; labs/router-trunk.yaml is its plain-Xen kind"
    ),
    dead=(
        Dead(
            says="edit pfSense's interfaces.inc so that it offers VLANs on xn interfaces",
            why="an update of the guest undoes it; where its menus do not offer it, ifconfig at its start does",
        ),
    ),
    subject="card",
)
