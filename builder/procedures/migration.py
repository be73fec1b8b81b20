"""What guests are moved with: a way from one host to another, a key that may do nothing else and is gone afterwards."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from builder.model.host import Host
from builder.model.lab import Value
from builder.model.units import MIB
from builder.procedures.api import Action, Hand, Options, Refusal, Write, run
from builder.procedures.asking import ask, read_text

FOLDER = "/var/lib/nestlab/migration"
KEY = f"{FOLDER}/key"
KNOWN = f"{FOLDER}/known_hosts"
GATE = f"{FOLDER}/gate"
MARK = "nestlab-migration"
AUTHORIZED = "/root/.ssh/authorized_keys"

NETWORK_FILES = {"nfs", "nfs4", "ceph", "ocfs2", "gfs/gfs2", "lustre", "smb2", "cifs"}

# What is at each path: kind, size, and what tells whether another host sees the very same.
_DISKS = r"""
for path in "$@"; do
  if [ -b "$path" ]; then echo "block $(blockdev --getsize64 "$path") $(lsblk -dnro WWN,SERIAL "$path" | tr ' ' _)"
  elif [ -e "$path" ]; then echo "file $(stat -c %s "$path") $(stat -f -c %T "$path")"
  else echo "absent $(df -B1 --output=avail "${path%/*}/" 2>/dev/null | tail -1 | tr -dc 0-9) -"; fi
done
"""
# What the key may do on the host that receives: xl's own counterpart, and these disks, those to come only once.
_GATE = """\
#!/bin/sh
# Written by `nestlab procedure run`: guest-migrate. Gone once the guest is there.
set -eu
umask 077
PATH=$PATH:/usr/sbin:/sbin
refuse() {
	echo "refused: $SSH_ORIGINAL_COMMAND" >&2
	exit 126
}
[ "$SSH_ORIGINAL_COMMAND" != "xl migrate-receive" ] || exec xl migrate-receive
path=${SSH_ORIGINAL_COMMAND#* }
case "$path" in
@PATHS@) ;;
*) refuse ;;
esac
case "$SSH_ORIGINAL_COMMAND" in
"put "*) [ ! -e "$path" ] && exec dd of="$path" bs=1M iflag=fullblock conv=sparse,excl status=none ;;
"get "*) exec cat -- "$path" ;;
"sum "*) exec sha256sum <"$path" ;;
esac
refuse
"""
# A last line without an end is somebody's key: one more key on that line would take it along when it goes.
_AUTHORIZE = f"""\
umask 077
mkdir -p /root/.ssh
touch {AUTHORIZED}
sed -i --follow-symlinks '/ {MARK}$/d' {AUTHORIZED}
[ -z "$(tail -c 1 {AUTHORIZED})" ] || echo >>{AUTHORIZED}
read -r kind key rest
printf 'from="%s",restrict,command="%s" %s %s %s\\n' "$1" {GATE} "$kind" "$key" {MARK} >>{AUTHORIZED}
"""
_PIN = f"""\
read -r kind key rest
printf '%s %s %s\\n' "$1" "$kind" "$key" >{KNOWN}
"""
_CLOSE = f"sed -i --follow-symlinks '/ {MARK}$/d' {AUTHORIZED}; rm -rf -- {FOLDER}"

# Which way frames to the other host go, and what that one sees as the sender.
WAY = r"""
address=$(getent ahostsv4 "$1" | sed -n '1s/ .*//p')
echo "address=$address"
[ -z "$address" ] || ip -o route get "$address" | sed -n 's/.* src \([^ ]*\).*/source=\1/p'
[ -z "$address" ] || ssh-keyscan -T 20 -t ed25519 "$address" 2>/dev/null | sed -n '/^[^#]/s/.*/answers=yes/p'
:
"""


class Asked(Options):
    guest: str = Field(pattern=r"^[A-Za-z0-9_.:-]+$", description="the guest's name (xe: or uuid)")
    to: str = Field(pattern=r"^[A-Za-z0-9_.-]+$", description="the node of the lab that it goes to")
    via: str = Field(
        "", pattern=r"^[A-Za-z0-9_.:-]*$", description="that node's name or address on the network that the guest's "
        "memory goes over, such as beta.migration; without, the node's name",
    )  # fmt: skip
    storage: Literal["shared", "copy"] = Field(
        "shared", description="copy: the hosts share no storage. Plain Xen stops the guest meanwhile; xe does not"
    )
    address: str = Field(
        "", pattern=r"^[0-9a-fA-F.:]*$", description="the guest's own address, pinged during a live migration"
    )
    disk: str = Field(
        "", pattern=r"^(/dev/[^ '\"]+)?$", description="a disk that both hosts see and a drill's guest numbers blocks "
        "of: none may be missing (live, plain Xen)",
    )  # fmt: skip
    lost: int = Field(25, ge=0, description="how many of five pings a second may be lost")
    wait: int = Field(120, ge=1, le=3600, description="seconds that a guest has to shut down (storage=copy, plain Xen)")
    password_file: str = Field(
        "", pattern=r"^(/[^ '\"]+)?$", description="file on the host with root's password of the other pool (xe)"
    )


class Disk(Value):
    """One of the guest's disks as a host sees it. `kind` is block, file or absent; `size` what it holds, or what there
    is room for; `mark` tells whether two hosts see the same."""

    path: str
    kind: str
    size: int
    mark: str


@dataclass(frozen=True, slots=True)
class Link:
    """From a host to another; empty is the one that the procedure is done on. `address` is how the other is reached,
    `source` what it sees as the sender, `paths` the disks that may go over it."""

    giver: str
    taker: str
    address: str
    source: str
    paths: tuple[str, ...] = ()

    @property
    def gate(self) -> str:
        """The program that the key runs on the other host, whatever is asked for."""
        return _GATE.replace("@PATHS@", " | ".join(map(shlex.quote, self.paths)) or "/")

    @property
    def ssh(self) -> str:
        """The program that xl and others reach the other host with."""
        return f"ssh -i {KEY} -o IdentitiesOnly=yes -o UserKnownHostsFile={KNOWN} -o BatchMode=yes"

    def open(self) -> tuple[Action, ...]:
        make = f'mkdir -p -m 0700 {FOLDER} && ssh-keygen -q -t ed25519 -N "" -C {MARK} -f {KEY} </dev/null'
        return (
            run("sh", "-c", f"rm -rf -- {FOLDER}; {make}", on=self.giver, seconds=120),
            run("mkdir", "-p", "-m", "0700", FOLDER, on=self.taker),
            Write(GATE, self.gate, mode=0o755, on=self.taker),
            Hand(("cat", f"{KEY}.pub"), ("sh", "-c", _AUTHORIZE, "sh", self.source), on=self.giver, to=self.taker),
            Hand(("cat", "/etc/ssh/ssh_host_ed25519_key.pub"), ("sh", "-c", _PIN, "sh", self.address),
                 on=self.taker, to=self.giver, hint="the other host has no ssh key of the kind ed25519"),
        )  # fmt: skip

    def close(self) -> tuple[Action, ...]:
        return tuple(run("sh", "-c", _CLOSE, on=node) for node in (self.giver, self.taker))

    def put(self, path: str) -> Action:
        """Send a file, as it is, to the same path there; and see that the same arrived."""
        there = f"{self.ssh} {shlex.quote(f'root@{self.address}')}"
        script = (
            f'set -e; dd if="$1" bs=1M status=progress | {there} "put $1"; '
            f'[ "$(sha256sum <"$1")" = "$({there} "sum $1")" ]'
        )
        return run("sh", "-c", script, "sh", path, on=self.giver, seconds=7200, hint="the copy is not what was sent")

    def get(self, path: str) -> Action:
        """Fetch a file from the same path there, over the one that is here, whose owner and mode stay."""
        there = f"{self.ssh} {shlex.quote(f'root@{self.address}')}"
        script = (
            f'set -e; {there} "get $1" | dd of="$1.new" bs=1M iflag=fullblock conv=sparse status=progress; '
            f'[ "$(sha256sum <"$1.new")" = "$({there} "sum $1")" ]; '
            'if [ -e "$1" ]; then chown --reference="$1" -- "$1.new"; chmod --reference="$1" -- "$1.new"; fi; '
            'mv -- "$1.new" "$(readlink -f -- "$1")"'
        )
        return run("sh", "-c", script, "sh", path, on=self.giver, seconds=7200, hint="the copy is not what was sent")


def is_open(authorized: str | None, folder: bool) -> bool:
    """Whether something of a link is left on a host."""
    return folder or re.search(rf" {MARK}$", authorized or "", re.MULTILINE) is not None


def left_open(host: Host) -> bool:
    return is_open(read_text(host, AUTHORIZED), host.run(["test", "-e", FOLDER]).ok)


def disks_of(host: Host, paths: Sequence[str]) -> tuple[Disk, ...]:
    """What a host has at these paths."""
    if not paths:
        return ()
    rows = [line.split(maxsplit=2) for line in ask(host, "sh", "-c", _DISKS, "sh", *paths).splitlines()]
    sizes = [int(row[1]) if row[1:] and row[1].isdigit() else 0 for row in rows]
    marks = [row[2].strip("_- ") if row[2:] else "" for row in rows]
    return tuple(
        Disk(path=path, kind=row[0], size=size, mark=mark)
        for path, row, size, mark in zip(paths, rows, sizes, marks, strict=True)
    )


def sharing(here: Sequence[Disk], there: Sequence[Disk], to: str) -> list[Refusal]:
    """A disk of the same name is not the same disk: two hosts that write to two of them lose what the guest wrote."""
    found = []
    for mine, theirs in zip(here, there, strict=False):
        if theirs.kind == "absent":
            found.append(Refusal(code="no-disk", message=f"{to} does not have {mine.path}",
                                 hint="storage=copy, or put it on storage that both hosts see"))  # fmt: skip
            continue
        network = mine.kind == theirs.kind == "file" and mine.mark == theirs.mark and mine.mark in NETWORK_FILES
        device = mine.kind == theirs.kind == "block" and mine.mark == theirs.mark and mine.size == theirs.size
        if not network and not (device and mine.mark):
            found.append(Refusal(
                code="not-shared", message=f"{mine.path} on the two hosts cannot be told to be the same: "
                f"{mine.kind} ({mine.mark or 'no id'}) here, {theirs.kind} ({theirs.mark or 'no id'}) there",
                hint="files: on NFS or another network file system; devices: with a WWN or serial number",
            ))  # fmt: skip
    return found


def copying(here: Sequence[Disk], there: Sequence[Disk], to: str) -> list[Refusal]:
    """Nothing is written over, and nothing is begun that does not fit."""
    found = []
    for mine, theirs in zip(here, there, strict=False):
        if mine.kind != "file":
            found.append(Refusal(code="not-a-file", message=f"{mine.path} is no file: only these are copied",
                                 hint="make a volume of the same size there and copy it by hand"))  # fmt: skip
        elif theirs.kind != "absent":
            found.append(Refusal(code="disk-there", message=f"{to} has {mine.path} already",
                                 hint="look what it is; nothing is written over it"))  # fmt: skip
    need = sum(disk.size for disk in here)
    room = min((disk.size for disk in there if disk.kind == "absent"), default=need)
    if need > room:
        message = f"the disks are {need // MIB}MiB, {to} has room for {room // MIB}MiB"
        found.append(Refusal(code="no-room", message=message, hint="is the folder there, and large enough?"))
    return found
