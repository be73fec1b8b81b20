"""Guests that a lab file declares, asked of their running host: what xl makes of each, and that they run.

A guest that starts with the host has to be there. One whose RAM disk lies below /run/nestlab is given it here, and is
run to its end: what it prints is in that RAM disk alone.
"""

from __future__ import annotations

import json
import secrets
import time
from pathlib import PurePosixPath

import pytest
import testinfra.host

from builder.model.lab import Guest, Node

Host = testinfra.host.Host

OURS = "/run/nestlab/"
# A console that nobody has opened yet, and one whose guest is gone, lose what was printed: this guest says it until
# somebody answers.
INIT = """\
#!/bin/busybox sh
/bin/busybox mount -t sysfs sysfs /sys
until read -t 2 answer; do
    echo "guest: {nonce}"
    echo "devices:" /sys/bus/xen/devices/v*-*
done
exec /bin/busybox poweroff -f
"""
# A console ends with its input, too: this one is open for reading and writing, and so never ends. It is no terminal, so
# not read either: the answer goes to the guest's own. What is said a second time was whole the first time.
CONSOLE = """\
cd {folder} && rm -f in out && mkfifo in && : > out || exit
{{
    until [ "$(grep -c '^devices:' out)" -gt 1 ]; do sleep 0.5; done
    echo seen > "$(xenstore-read "/local/domain/$(xl domid {guest})/console/tty")"
}} > /dev/null 2>&1 &
timeout {seconds:.0f} xl create -c /etc/xen/{guest}.cfg <> in > out
status=$?
kill $! 2> /dev/null
cat out
exit $status
"""


def of_xl(node: Node) -> list[Guest]:
    return [guest for guest in node.guests if guest.manager == "xl"]


def test_xl_reads_every_guest_as_it_was_declared(host: Host, node: Node) -> None:
    """By `xl -N`, which takes a configuration apart and starts nothing."""
    assert of_xl(node)
    for guest in of_xl(node):
        told = host.check_output("xl -N create /etc/xen/%s.cfg", guest.name)
        config = json.loads(told[told.index("{") :])
        info = config["b_info"]
        assert (config["c_info"]["name"], config["c_info"]["type"]) == (guest.name, guest.type)
        assert info["target_memkb"] == guest.memory >> 10
        assert info["max_memkb"] == (guest.maxmem or guest.memory) >> 10
        assert info["max_vcpus"] == guest.vcpus
        assert [disk["pdev_path"] for disk in config.get("disks", [])] == [disk.path for disk in guest.disks]
        assert [(nic["mac"], nic["bridge"]) for nic in config.get("nics", [])] == [
            (vif.mac, vif.bridge) for vif in guest.vifs
        ]


def test_guests_that_start_with_the_host_run(host: Host, node: Node, patience: float) -> None:
    started = [guest for guest in of_xl(node) if guest.autostart]
    if not started:
        pytest.skip("no guest starts with this host")
    for guest in started:
        link = f"/etc/xen/auto/{guest.name}"
        assert host.check_output("readlink %s", link) == f"/etc/xen/{guest.name}.cfg"
        wait_until_whole(host, guest, 60 * patience)
        for vif in guest.vifs:
            assert vif.mac in host.check_output("xl network-list %s", guest.name)


def wait_until_whole(host: Host, guest: Guest, seconds: float) -> None:
    """Until the domain has its memory, and its interfaces are in their bridges: it is listed before that."""
    deadline = time.monotonic() + seconds
    while True:
        listed = host.run("xl list %s", guest.name)
        words = listed.stdout.splitlines()[-1].split() if listed.succeeded else []
        if words[2:4] == [str(guest.memory >> 20), str(guest.vcpus)]:
            cards = [f"/sys/class/net/{vif.bridge}/brif/vif{words[1]}.{n}" for n, vif in enumerate(guest.vifs)]
            if all(host.run("test -e %s", card).succeeded for card in cards):
                return
        assert time.monotonic() < deadline, listed.stdout + listed.stderr + host.run("ls /sys/class/net/*/brif").stdout
        time.sleep(2)


def test_a_guest_runs_to_its_end(host: Host, node: Node, patience: float) -> None:
    mine = [guest for guest in of_xl(node) if guest.type == "pv" and (guest.ramdisk or "").startswith(OURS)]
    if not mine:
        pytest.skip("no guest waits for its RAM disk")
    for guest in mine:
        nonce = secrets.token_hex(16)
        told = run_to_its_end(host, guest, nonce, 60 * patience)
        assert f"guest: {nonce}" in told, told
        devices = next(line.split()[1:] for line in told if line.startswith("devices: "))
        cards = [PurePosixPath(device).name for device in devices if "/vif-" in device]
        assert cards == [f"vif-{number}" for number in range(len(guest.vifs))]
        assert sum("/vbd-" in device for device in devices) == len(guest.disks)
        assert host.run("xl domid %s", guest.name).failed, "the guest is still there"


def run_to_its_end(host: Host, guest: Guest, nonce: str, seconds: float) -> list[str]:
    """What a guest whose RAM disk is made here says on its console."""
    ramdisk = str(guest.ramdisk)
    folder = host.check_output("mktemp -d %sguest.XXXXXX", prepared(host))
    try:
        host.check_output("cd %s && mkdir -p root/bin root/sys root/dev root/proc", folder)
        host.check_output("printf '%%s' %s > %s/root/init", INIT.format(nonce=nonce), folder)
        host.check_output(
            "cd %s/root && chmod 755 init && cp /bin/busybox bin/ && mknod dev/console c 5 1"
            " && find . | busybox cpio -o -H newc > %s",
            folder, ramdisk,
        )  # fmt: skip
        run = CONSOLE.format(folder=folder, seconds=seconds, guest=guest.name)
        told = host.run("sh -c %s", run)
        assert told.succeeded, told.stderr_bytes.decode(errors="replace")
        return str(told.stdout_bytes.decode(errors="replace")).replace("\r", "").splitlines()
    finally:
        # Whoever watches over the domain may be at clearing it away: nobody gets in the way before that has had time.
        host.run(
            "for _ in 1 2 3 4 5 6 7 8; do xl domid %s || break; sleep 1; done; xl destroy %s; rm -rf %s %s",
            guest.name, guest.name, folder, ramdisk,
        )  # fmt: skip


def prepared(host: Host) -> str:
    host.check_output("mkdir -p %s", OURS)
    return OURS
