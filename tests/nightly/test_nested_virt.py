"""A guest that may have guests: it sees the processor's virtualisation, which is looked at inside it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator

import pytest

from builder.model.host import Host
from builder.procedures.guests import make_initrd
from tests.support.lab import bench
from tests.support.procedure_lab import Lab, sh

pytestmark = pytest.mark.e2e

# Xen 4.17: from 4.20 on it nests on AMD's processors only with features that QEMU does not emulate (LBR, decode
# assists), and says so: docs/designs/nested-svm-cpu-features.md.
LAB = """\
name: nested-virt
description: A dom0 with a guest that may be a host.
nodes:
  dom0:
    system: debian
    release: "12"
    memory: 3GiB
"""
GUEST = """\
name = "inner"
type = "hvm"
memory = 256
vcpus = 1
tsc_mode = "native"
kernel = "/vmlinuz"
ramdisk = "/run/inner/initrd"
extra = "console=ttyS0 rdinit=/init"
serial = "file:/run/inner/console"
vga = "none"
on_crash = "destroy"
"""
INIT = """\
#!/bin/busybox sh
/bin/busybox mkdir -p /proc
/bin/busybox mount -t proc proc /proc
while :; do
    echo "guest NONCE $(/bin/busybox grep -m 1 ^flags /proc/cpuinfo)"
    /bin/busybox sleep 5
done
"""


@pytest.fixture
def lab() -> Iterator[Lab]:
    with bench() as made:
        yield Lab(made, made.lab(LAB))


def flags_inside(host: Host) -> set[str]:
    """What the guest says of its processor. It is started for that, and ended."""
    nonce = secrets.token_hex(8)
    make_initrd(host, "/run/inner", {"init": INIT.replace("NONCE", nonce)}, timeout=900)
    sh(host, "rm -f /run/inner/console; xl create -q /etc/xen/inner.cfg", timeout=600)
    try:
        said = sh(
            host,
            f"for i in $(seq 180); do grep -a -m 1 'guest {nonce} flags' /run/inner/console && exit 0; sleep 5; done; "
            "tail -c 2000 /run/inner/console; exit 1",
            timeout=1000,
        )
    finally:
        host.run(["xl", "destroy", "inner"])
    found = re.search(rf"guest {nonce} flags\s*:(.*)", said)
    assert found, said
    return set(found[1].split())


def test_what_the_guest_sees(lab: Lab) -> None:
    host = lab.world.host("dom0")
    host.write("/etc/xen/inner.cfg", GUEST.encode())
    assert not flags_inside(host) & {"svm", "vmx"}
    assert "done, and seen" in lab.does("run", "dom0", "nested-virt", "guest=inner")
    assert "nothing was changed" in lab.does("run", "dom0", "nested-virt", "guest=inner")
    assert flags_inside(host) & {"svm", "vmx"}
    assert "undone" in lab.does("undo", "dom0", "nested-virt", "guest=inner")
    assert not flags_inside(host) & {"svm", "vmx"}
