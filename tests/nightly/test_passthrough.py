"""A network card given to a guest, on a host whose machine has an emulated IOMMU: refused where it has to be, frames of
the guest on the wire with the card's address, and the card back in dom0."""

from __future__ import annotations

import contextlib
import struct
from collections import Counter
from collections.abc import Iterator

import pytest

from builder.model.host import Host
from builder.procedures.guests import make_initrd
from tests.support.lab import ROOT, bench
from tests.support.procedure_lab import Lab, sh

pytestmark = pytest.mark.e2e

# The second card of the lab, which has no address, the management card, and q35's AHCI with dom0's disk.
CARD, MANAGEMENT, DISKS = "00:05.0", "00:03.0", "00:1f.2"
DEVICE = f"/sys/bus/pci/devices/0000:{CARD}"
PEER, ADDRESS = "10.50.0.2", "10.50.0.3"
GUEST = "nestlab-card"
CONFIG = f"/etc/xen/{GUEST}.cfg"
FOLDER = "/var/lib/nestlab/drill"
ASKED = (f"guest={GUEST}", f"devices={CARD}")
# A guest without disk and interface: its network is the card alone, whose driver it waits for.
INIT = f"""\
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mkdir -p /sys
/bin/busybox mount -t sysfs sysfs /sys
for module in /[0-9]*.ko; do /bin/busybox insmod "$module"; done
while :; do
  until /bin/busybox ip link set dev eth0 up; do /bin/busybox sleep 1; done
  /bin/busybox ip address add {ADDRESS}/24 dev eth0
  while [ -e /sys/class/net/eth0 ]; do
    /bin/busybox ping -c 1 -W 2 {PEER}
    /bin/busybox sleep 1
  done
done
"""
PASSES, ROOM = 'passthrough = "enabled"\n', "e820_host = 1\n"
ANSWERS = f"for i in $(seq 120); do ping -c 1 -W 2 {ADDRESS} >/dev/null && exit 0; done; exit 1"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with bench() as made:
        yield Lab(made, ROOT / "labs/passthrough.yaml")


@contextlib.contextmanager
def guest(host: Host, more: str = "") -> Iterator[None]:
    """The guest's files, with further lines of its configuration. It runs when somebody starts it."""
    kernel = sh(host, "uname -r").strip()
    make_initrd(host, FOLDER, {"init": INIT}, ("xen-pcifront", "e1000e"), timeout=900)
    config = (
        f'name = "{GUEST}"\ntype = "pv"\nkernel = "/boot/vmlinuz-{kernel}"\nramdisk = "{FOLDER}/initrd"\n'
        'memory = 256\nvcpus = 1\nextra = "console=hvc0"\non_crash = "destroy"\n' + more
    )
    host.write(CONFIG, config.encode())
    try:
        yield
        assert host.read(CONFIG).decode() == config, "undoing left its traces"
    finally:
        host.run(["xl", "destroy", GUEST])
        host.run(["rm", "-rf", "--", FOLDER, CONFIG])


def pings(capture: bytes, card: str) -> Counter[str]:
    """Of the frames of a pcap file: echo requests from this address, and replies to it."""
    own, at, found = bytes.fromhex(card.replace(":", "")), 24, Counter[str]()
    while at + 16 <= len(capture):
        size = struct.unpack_from("<8xI", capture, at)[0]
        frame = capture[at + 16 : at + 16 + size]
        at += 16 + size
        if frame[12:14] != b"\x08\x00" or frame[23:24] != b"\x01":
            continue
        found["sent"] += frame[6:12] == own and frame[34:35] == b"\x08"
        found["answered"] += frame[:6] == own and frame[34:35] == b"\x00"
    return found


def driver(host: Host) -> str:
    return sh(host, f"basename $(readlink {DEVICE}/driver)").strip()


def seen_from_outside(lab: Lab, card: str) -> None:
    """The peer reaches the guest; what the guest sends has the card's address, and is answered."""
    sh(lab.world.host("peer"), ANSWERS)
    found = pings(lab.world.capture("lan", seconds=30), card)
    assert found["sent"] > 1 and found["answered"] > 1, found


def test_what_the_host_needs_is_not_given_away(lab: Lab) -> None:
    dom0 = lab.world.host("dom0")
    with guest(dom0):
        for devices, code in ((MANAGEMENT, "in-use"), ("00:00.0", "bridge"), ("00:0f.0", "no-device")):
            lab.refused("dom0", "pci-assign", f"guest={GUEST}", f"devices={devices}", code=code)
        said = lab.refused("dom0", "pci-assign", f"guest={GUEST}", f"devices={DISKS}", code="in-use")
        assert "[disk-in-use]" in said and "[functions]" in said, said
        sh(dom0, f"sed -i 's/pv/pvh/' {CONFIG}")
        lab.refused("dom0", "pci-assign", *ASKED, code="pvh")
        sh(dom0, f"sed -i 's/pvh/pv/' {CONFIG}")


@pytest.mark.parametrize("more", ["", PASSES, ROOM], ids=["plain", "no-room", "no-passthrough"])
def test_a_running_guest_is_not_given_what_it_would_not_take(lab: Lab, more: str) -> None:
    dom0 = lab.world.host("dom0")
    with guest(dom0, more):
        sh(dom0, f"xl create -q {CONFIG}")
        assert "passthrough" in lab.refused("dom0", "pci-assign", *ASKED, code="no-passthrough")


@pytest.mark.parametrize("runs", [False, True], ids=["before-it-starts", "while-it-runs"])
def test_a_guest_pings_through_a_card_of_its_own(lab: Lab, runs: bool) -> None:
    dom0 = lab.world.host("dom0")
    card = sh(dom0, f"cat {DEVICE}/net/*/address").strip()
    with guest(dom0, PASSES + ROOM if runs else ""):
        if runs:
            sh(dom0, f"xl create -q {CONFIG}")
        lab.does("run", "dom0", "pci-assign", *ASKED)
        if not runs:
            sh(dom0, f"xl create -q {CONFIG}")
        assert driver(dom0) == "pciback"
        seen_from_outside(lab, card)
        with lab.untouched("dom0"):
            assert "is so already, nothing was changed" in lab.does("run", "dom0", "pci-assign", *ASKED)
        lab.does("undo", "dom0", "pci-assign", f"guest={GUEST}")
        assert driver(dom0) == "e1000e" and sh(dom0, f"cat {DEVICE}/net/*/address").strip() == card
        assert sh(dom0, f"xl pci-list {GUEST} | grep -c {CARD} || :").strip() == "0"
        assert not +pings(lab.world.capture("lan", seconds=10), card)
