"""The network script of a Debian dom0, run for real in a network of its own: bridges, addresses, a DHCP lease.

Stand-ins: cards are ends of veth pairs (a namespace has no PCI devices), /sys/class/net is a folder that shows them as
cards are shown, and the table is read from the test's folder, so that nothing is put into this machine's /etc. VLAN
interfaces are left to the test with real hosts: not every kernel has them.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from builder.systems import load_system
from tests.support.nodes import MANAGEMENT_MAC, debian_node, nic

pytestmark = pytest.mark.integration

_RUN = """\
set -e
mount --make-rprivate /
umask 022
mount -t tmpfs none /run
touch /run/resolv.conf /run/leases
mount --bind /run/resolv.conf "$(readlink -f /etc/resolv.conf)"
i=0
for mac in $MACS; do
    ip link add "eth$i" address "$mac" type veth peer name "far$i"
    ip link set "far$i" up
    mkdir -p "$CLASS/eth$i/device"
    echo "$mac" >"$CLASS/eth$i/address"
    i=$((i + 1))
done
ip address add 10.9.0.2/24 dev far0
cat >/run/udhcpd.conf <<END
start 10.9.0.15
end 10.9.0.15
interface far0
lease_file /run/leases
pidfile /run/udhcpd.pid
option router 10.9.0.2
option dns 10.9.0.3
option subnet 255.255.255.0
END
busybox udhcpd -f /run/udhcpd.conf >/dev/null 2>&1 &
mount --bind "$CLASS" /sys/class/net
status=0
"$SCRIPT" >&2 || status=$?
echo "$status" >"$OUT/status"
ip -json -details address show >"$OUT/addresses"
ip -json route show >"$OUT/routes"
cp /etc/resolv.conf "$OUT/resolv.conf"
"""


class Outcome:
    def __init__(self, folder: Path) -> None:
        self.status = int((folder / "status").read_text())
        links: list[dict[str, Any]] = json.loads((folder / "addresses").read_text())
        self.links = {link["ifname"]: link for link in links}
        self.routes = json.loads((folder / "routes").read_text())
        self.resolv = (folder / "resolv.conf").read_text()

    def addresses(self, name: str) -> set[str]:
        """Those that were given, without the ones that IPv6 makes up by itself."""
        info = self.links[name]["addr_info"]
        return {f"{each['local']}/{each['prefixlen']}" for each in info if each["scope"] == "global"}


def run_script(folder: Path, script: str, table: str, macs: tuple[str, ...]) -> Outcome:
    """Run the script in fresh namespaces whose cards have these MACs."""
    (folder / "class").mkdir()
    path = folder / "network"
    moved = script.replace("table=/etc/nestlab/network", f"table={folder / 'table'}")
    assert moved != script
    path.write_text(moved)
    path.chmod(0o755)
    if table:
        (folder / "table").write_text(table)
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "MACS": " ".join(macs),
        "CLASS": str(folder / "class"),
        "SCRIPT": str(path),
        "OUT": str(folder),
    }
    # A PID namespace, too: what the script leaves in the background ends with it.
    subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", _RUN],
        env=environment, check=True, timeout=120, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return Outcome(folder)


@pytest.fixture
def script() -> str:
    recipe = load_system("debian").plan(debian_node()).recipe
    assert recipe is not None
    return next(file.content for file in recipe.files if file.path.endswith("nestlab/network"))


def table(**changes: Any) -> str:
    plan = load_system("debian").plan(debian_node(**changes))
    return next(file.content for file in plan.seed if file.path == "/etc/nestlab/network")


def test_bridges_carry_their_cards_whatever_order_the_cards_were_found_in(tmp_path: Path, script: str) -> None:
    nics = (nic(1, mtu=1400, addresses=("10.7.0.1/24", "fd00:7::1/64")), nic(2))
    # The management card is found first here (it is the one with a DHCP server), the lab cards in reverse.
    done = run_script(tmp_path, script, table(nics=nics), (MANAGEMENT_MAC, nics[1].mac, nics[0].mac))
    assert done.status == 0
    carried = {name: link["master"] for name, link in done.links.items() if name.startswith("eth")}
    assert carried == {"eth0": "xenbr0", "eth1": "xenbr2", "eth2": "xenbr1"}
    assert done.links["xenbr1"]["mtu"] == 1400
    assert done.addresses("xenbr1") == {"10.7.0.1/24", "fd00:7::1/64"}
    assert done.addresses("xenbr2") == set()
    assert done.links["xenbr0"]["address"] == MANAGEMENT_MAC
    bridge = done.links["xenbr0"]["linkinfo"]["info_data"]
    assert (bridge["stp_state"], bridge["forward_delay"]) == (0, 0)


def test_the_management_bridge_takes_what_dhcp_gives(tmp_path: Path, script: str) -> None:
    done = run_script(tmp_path, script, table(), (MANAGEMENT_MAC,))
    assert done.status == 0
    assert done.addresses("xenbr0") == {"10.9.0.15/24"}
    assert [route["gateway"] for route in done.routes if route["dst"] == "default"] == ["10.9.0.2"]
    assert done.resolv == "nameserver 10.9.0.3\n"


def test_without_a_table_the_first_card_is_the_management_card(tmp_path: Path, script: str) -> None:
    done = run_script(tmp_path, script, "", ("52:54:00:12:34:56",))
    assert done.status == 0
    assert done.links["eth0"]["master"] == "xenbr0"
    assert done.addresses("xenbr0") == {"10.9.0.15/24"}


def test_a_missing_lab_card_fails_the_unit_but_not_ssh(tmp_path: Path, script: str) -> None:
    impatient = script.replace('"$tries" -lt 300', '"$tries" -lt 3')
    assert impatient != script
    done = run_script(tmp_path, impatient, table(nics=(nic(1, addresses=("10.7.0.1/24",)),)), (MANAGEMENT_MAC,))
    assert done.status == 1
    assert "xenbr1" not in done.links
    assert done.addresses("xenbr0") == {"10.9.0.15/24"}
