"""Cards of the installer itself: brought up only when something is to be fetched, or when they are named."""

from __future__ import annotations

from pathlib import Path

from .found import cards
from .tools import Tools

_EVENT = "/opt/stand-in/dhcp-event"


def bring_up(tools: Tools, device: str, config: str) -> None:
    """`device` is a name, an address or `all`; `config` is dhcp[:vlan=N] or static:ip=..;netmask=..[;...]."""
    here = cards()
    names = list(here) if device == "all" else [name for name, mac in here.items() if device in (name, mac)]
    mode, _, rest = ("dhcp" if device == "all" else config.lower() or "dhcp").partition(":")
    said = dict(part.split("=", 1) for part in rest.split(";") if part)
    for name in names:
        tools.run("ip", "link", "set", name, "up")
        card = name
        if "vlan" in said:
            card = f"{name}.{said['vlan']}"
            tools.run("ip", "link", "add", "link", name, "name", card, "type", "vlan", "id", said["vlan"])
            tools.run("ip", "link", "set", card, "up")
        if mode == "static":
            _static(tools, card, said)
        elif not tools.tries("udhcpc", "-i", card, "-n", "-q", "-t", "5", "-T", "3", "-s", _EVENT):
            tools.log(f"no address for {card} by DHCP")


def _static(tools: Tools, card: str, said: dict[str, str]) -> None:
    tools.run("ifconfig", card, said["ip"], "netmask", said["netmask"])
    if "gateway" in said:
        tools.run("route", "add", "default", "gw", said["gateway"])
    servers = [f"nameserver {server}\n" for server in said.get("dns", "").split(",") if server]
    Path("/etc/resolv.conf").write_text("".join(servers))
