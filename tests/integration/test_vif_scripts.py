"""Xen's own scripts for interfaces of guests, of both releases, as procedures have xl run them: on a real kernel.

xenstore's tools are made up, and keep values in files: they need a hypervisor. Everything else is real.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from builder.model.host import HostResult
from builder.procedures import vif_tx_off
from builder.procedures.guest_routed import _GUEST, _ROUTE
from builder.procedures.vifs import EACH, PROBE, SCRIPTS, told, try_script
from tests.support.debs import unpacked
from tests.support.local_host import LocalHost

pytestmark = pytest.mark.integration

# A network of its own, with a bridge that has the host's address; the scripts' log in a folder of its own.
_INSIDE = """\
set -e
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /var/log
mkdir /var/log/xen
ip link set dev lo up
ip link add name xenbr0 type bridge
ip address add 198.51.100.1/24 dev xenbr0
ip link set dev xenbr0 up
"$@" || :
ip -o link show
cat /var/log/xen/*.log >&2
"""
_XENSTORE = {
    "read": '[ -f "$STORE/$1" ] && cat "$STORE/$1"',
    "write": 'while [ $# -gt 1 ]; do mkdir -p "$STORE/${1%/*}"; printf "%s\\n" "$2" >"$STORE/$1"; shift 2; done',
    "rm": 'rm -r "$STORE/$1"',
}


class Inside(LocalHost):
    """This machine with a network of its own, which ends with the command."""

    def __init__(self, release: str, folder: Path) -> None:
        self.scripts = folder / "scripts"
        source = unpacked(release, ["xen-utils-common"]) / "etc/xen/scripts"
        subprocess.run(["cp", "-r", source, self.scripts], check=True)
        tools = folder / "tools"
        tools.mkdir()
        for name, script in _XENSTORE.items():
            (tools / f"xenstore-{name}").write_text(f"#!/bin/sh\n{script}\n")
            (tools / f"xenstore-{name}").chmod(0o755)
        self.store = folder / "store"
        theirs = unpacked("12", ["ethtool", "net-tools"]) / "sbin"
        self.path = f"{os.environ['PATH']}:{tools}:{theirs}"

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60) -> HostResult:
        words = [word.replace(SCRIPTS, str(self.scripts)) for word in argv]
        done = subprocess.run(["unshare", "--net", "--mount", "sh", "-c", _INSIDE, "sh", *words], input=stdin,
                              capture_output=True, text=False, timeout=timeout, check=False,
                              env={**os.environ, "STORE": str(self.store), "PATH": self.path})  # fmt: skip
        return HostResult(argv=tuple(argv), returncode=done.returncode, stdout=done.stdout.decode(),
                          stderr=done.stderr.decode())  # fmt: skip


@pytest.fixture(params=["12", "13"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Inside:
    return Inside(request.param, tmp_path)


def test_a_routed_guest_is_reached_by_its_interface(host: Inside) -> None:
    tried = try_script(host, "vif-route", _ROUTE, gateway="xenbr0", ip=_GUEST)
    assert (told(tried), tried["way"]) == ("connected", PROBE)
    assert not [*host.store.rglob("*")][1:], "what was made up is gone from xenstore"


def test_without_what_to_route_by_the_script_fails_and_says_so(host: Inside) -> None:
    """xl names no interface by itself, and the script takes eth0 then: with a bridge that has no address."""
    tried = try_script(host, "vif-route", _ROUTE, ip=_GUEST)
    assert "vif-route failed" in told(tried)
    assert tried.get("way") != PROBE


def test_a_bridged_guest_loses_its_offload_by_the_name_that_it_asked_for(host: Inside) -> None:
    script = host.scripts / vif_tx_off.SCRIPT
    script.write_text(vif_tx_off._SCRIPT.replace("@BELOW@", "vif-bridge"))
    script.chmod(0o755)
    look = vif_tx_off._LOOK + '; cat /sys/class/net/xenbr0/brif/*/port_no 2>/dev/null | sed "s/.*/bridged=yes/"'
    tried = try_script(host, vif_tx_off.SCRIPT, look, bridge="xenbr0")
    assert (told(tried), tried["tx"], tried["bridged"]) == ("connected", "off", "yes")
    plain = try_script(host, "vif-bridge", look, bridge="xenbr0")
    assert (told(plain), plain["tx"]) == ("connected", "on")
    named = try_script(host, vif_tx_off.SCRIPT, look.replace("$vif", "web0"), bridge="xenbr0", vifname="web0")
    assert (told(named), named["tx"], named["bridged"]) == ("connected", "off", "yes")
    lost = try_script(host, vif_tx_off.SCRIPT, look, bridge="xenbr7")
    assert "xenbr7" in told(lost) and "bridged" not in lost


def test_interfaces_are_found_by_either_name(tmp_path: Path) -> None:
    """xen-netback's devices are made up here: folders as sysfs has them."""
    for path in ("class/net/vif1.0", "class/net/web0", "class/net/eth0", "bus/xen-backend/devices/vif-1-0/net/vif1.0",
                 "bus/xen-backend/devices/vif-2-0/net/web0"):  # fmt: skip
        (tmp_path / path).mkdir(parents=True)
    script = f"{EACH}each_vif".replace("/sys/", f"{tmp_path}/")
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["vif1.0", "web0"]
