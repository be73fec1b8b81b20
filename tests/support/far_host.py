"""Another machine: a real sshd and libvirtd on this one, in namespaces of their own (network, mounts, processes).

Its /run, /etc/ssh, /etc/libvirt and libvirt's state are in memory and go with it; all its processes do too, also those
that a failing test left. The client is run in there as well: the machine is `l0`, an alias of its loopback.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support.lab import Bench

FOLDER = "/run/nestlab"
URI = f"qemu+ssh://root@l0/system?nestlab-dir={FOLDER}"
USER = "worker"
"""A user there who may not use libvirt's socket; QEMU runs as this one."""

_SETUP = """\
set -eu
ip link set lo up
mount -t sysfs sysfs /sys
for folder in /run /etc/ssh /etc/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt; do
  mkdir -p "$folder"  # Debian 12 makes the last ones only when a daemon first starts
  mount -t tmpfs -o mode=755 far "$folder"
done
mkdir -p -m 755 /run/sshd /run/far /run/lock /run/far/home /run/far/dev
# Devices without KVM, whatever this machine has: one that is there and may not be used has libvirtd ask QEMU anew what
# it can at every start.
mount -t tmpfs -o mode=755 far /run/far/dev
for node in null zero full random urandom tty; do cp -a "/dev/$node" /run/far/dev/; done
mkdir /run/far/dev/pts /run/far/dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 far /run/far/dev/pts
ln -s pts/ptmx /run/far/dev/ptmx
ln -s /proc/self/fd /run/far/dev/fd
mount --move /run/far/dev /dev
cp /etc/passwd /etc/shadow /etc/hosts /run/far/
echo "$1:x:64321:64321::/run/far/home:/bin/sh" >>/run/far/passwd
echo "$1:*:19000:0:99999:7:::" >>/run/far/shadow
echo "127.0.0.1 l0 stranger" >>/run/far/hosts
for file in passwd shadow hosts; do mount --bind "/run/far/$file" "/etc/$file"; done
ssh-keygen -q -t ed25519 -N '' -f /run/far/id
ssh-keygen -q -t ed25519 -N '' -f /run/far/host
cp /run/far/id.pub /run/far/authorized_keys
echo "l0 $(cut -d' ' -f1,2 /run/far/host.pub)" >/run/far/known_hosts
cat >/etc/ssh/ssh_config <<CLIENT
Host *
  IdentityFile /run/far/id
  IdentitiesOnly yes
  UserKnownHostsFile /run/far/known_hosts
CLIENT
cat >/run/far/sshd_config <<SERVER
ListenAddress 127.0.0.1
HostKey /run/far/host
PidFile none
UsePAM no
StrictModes no
AuthorizedKeysFile /run/far/authorized_keys
AuthenticationMethods publickey
PermitRootLogin yes
AllowTcpForwarding yes
AllowStreamLocalForwarding yes
SERVER
cat >/run/far/libvirtd.conf <<DAEMON
unix_sock_rw_perms = "0700"
auth_unix_rw = "none"
DAEMON
cat >/etc/libvirt/qemu.conf <<QEMU
user = "$1"
group = "nogroup"
stdio_handler = "file"
security_driver = "none"
namespaces = []
cgroup_controllers = []
QEMU
/usr/sbin/sshd -D -e -f /run/far/sshd_config </dev/null >/run/far/sshd.log 2>&1 &
/usr/sbin/libvirtd -f /run/far/libvirtd.conf </dev/null >/run/far/libvirtd.log 2>&1 &
until [ -S /run/libvirt/libvirt-sock ]; do sleep 0.1; done
until grep -q listening /run/far/sshd.log; do sleep 0.1; done
echo ready
wait   # and collect what dies, as the first process has to
"""


class FarHost:
    """`run` runs a program beside it."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def argv(self, *command: str | Path) -> list[str]:
        return ["nsenter", "-t", str(self._pid), "-n", "-m", "-p", "-r", "--wd=.", "--", *map(str, command)]

    def run(self, *command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.argv(*command), check=check, capture_output=True, text=True, timeout=60)

    def files(self, folder: str = FOLDER) -> list[str]:
        """What is there below a folder, by name."""
        found = self.run("find", folder, "-mindepth", "1", "-printf", "%P\n", check=False).stdout
        return sorted(found.splitlines())

    def guests(self) -> list[str]:
        return self.run("virsh", "-q", "list", "--all", "--name").stdout.split()


@contextlib.contextmanager
def far_host() -> Iterator[FarHost]:
    """It is up when this is entered, and gone, whatever ran there, when it is left."""
    space = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=KILL"]
    with tempfile.TemporaryFile("w+") as told:
        process = subprocess.Popen(
            [*space, "sh", "-c", _SETUP, "sh", USER], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=told,
            text=True, env={**os.environ, "PATH": f"/usr/sbin:/sbin:{os.environ['PATH']}"},
        )  # fmt: skip
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            told.seek(0)
            assert said == "ready\n", told.read()
            yield FarHost(_child(process.pid))
        finally:
            process.kill()
            process.wait(10)


def _child(pid: int) -> int:
    deadline = time.monotonic() + 5
    while True:
        children: Sequence[str] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if children:
            return int(children[0])
        assert time.monotonic() < deadline
        time.sleep(0.01)


class FarBench(Bench):
    """The client beside the other machine, with state of its own. Its pids are those of that machine's namespace."""

    def __init__(self, scratch: Path, far: FarHost) -> None:
        super().__init__(scratch)
        self.far = far

    def argv(self, *arguments: str | Path) -> list[str]:
        return self.far.argv(*super().argv(*arguments))

    def stored(self) -> dict[str, str]:
        """Inodes of what the machine keeps for all labs, by digest."""
        said = self.far.run("find", f"{FOLDER}/store", "-name", "[0-9a-f]*", "-printf", "%f %i\n").stdout
        return dict(line.split() for line in said.splitlines())

    def kill_keeper(self, lab: str) -> None:
        pid = str(json.loads((self.places.lab(lab) / "lock").read_text())["pid"])
        self.far.run("kill", "-KILL", pid)
        deadline = time.monotonic() + 10
        while self.far.run("ps", "-p", pid, "-o", "stat=", check=False).stdout.strip()[:1] not in ("", "Z"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
