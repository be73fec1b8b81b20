"""Guests of a host driven by xl: where their configurations are, and a small one that drills are done with."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from builder.errors import LabError
from builder.model.host import Host
from builder.procedures.api import Card
from builder.procedures.asking import ask, domains, fields, running_guests

GuestKind = Literal["pv", "pvh"]
FOLDERS = ("/etc/xen", "/etc/xen/auto")
AUTO = "/etc/xen/auto"
XENDOMAINS_FILES = ("/etc/default/xendomains", "/etc/sysconfig/xendomains")
"""Debian's and SUSE's place for the settings of the script that starts and stops guests."""
DRILL_GUEST = "nestlab-drill"
_DRILL_FOLDER = "/var/lib/nestlab/drill"
WRITTEN = "nestlab-drill"
BLOCK = 4096
_NAME = re.compile(r"^[ \t]*name[ \t]*=[ \t]*[\"']([^\"'\n]*)[\"']", re.MULTILINE)


def name_in(config: str) -> str | None:
    """The guest's name in an xl configuration."""
    found = _NAME.findall(config)
    return found[-1] if found else None


def configurations(host: Host) -> dict[str, str]:
    """The file of each guest, by the name in it: what lies in /etc/xen. Files that `xendomains` starts come last, and
    are left out where the same name was found before."""
    script = 'for f in "$@"; do [ ! -f "$f" ] || grep -H "^[[:space:]]*name[[:space:]]*=" "$f"; done; :'
    globbed = " ".join(f"{folder}/*" for folder in FOLDERS)
    found: dict[str, str] = {}
    for line in ask(host, "sh", "-c", f"set -- {globbed}; {script}").splitlines():
        path, _, text = line.partition(":")
        name = name_in(text)
        if name is not None:
            found.setdefault(name, path)
    return found


# Each entry of a folder and what it is, before the line in it that names a guest.
_ENTRIES = r"""
for entry in "$1"/*; do
  [ -f "$entry" ] || continue
  kind=file
  [ ! -L "$entry" ] || kind=link
  grep "^[[:space:]]*name[[:space:]]*=" "$entry" | while IFS= read -r line; do echo "$kind $entry:$line"; done
done
:
"""


def entries(host: Host) -> tuple[tuple[str, str, str], ...]:
    """(guest's name, path, `link` or `file`) of what starts guests with their host."""
    rows = (line.partition(":") for line in ask(host, "sh", "-c", _ENTRIES, "sh", AUTO).splitlines())
    named = ((name_in(text), *place.partition(" ")[::2]) for place, _, text in rows)
    return tuple((name, path, kind) for name, kind, path in named if name is not None)


def file_of(host: Host, path: str) -> str:
    """The file that a path leads to: what is written in the place of a link would leave its target as it was."""
    found = host.run(["readlink", "-f", path])
    return found.stdout.strip() or path if found.ok else path


def is_running(host: Host, name: str) -> bool:
    return any(each == name for each, _, _ in domains(host))


def comes_up(host: Host, name: str) -> bool:
    """Whether the guest runs, or does so within a minute and a half: a host that just started may be at it."""
    script = 'for i in $(seq 90); do xl list "$1" >/dev/null 2>&1 && exit 0; sleep 1; done; exit 1'
    return host.run(["sh", "-c", script, "sh", name], timeout=900).ok


def remaining(host: Host) -> tuple[str, ...]:
    """The guests that still run. One that has shut down is listed until its toolstack has cleared it away, so a minute
    is waited for the last of them."""
    script = 'for i in $(seq 60); do [ "$(xl list | wc -l)" -le 2 ] && break; sleep 1; done'
    host.run(["sh", "-c", script], timeout=900)
    return running_guests(host, "xl")


def xendomains(host: Host) -> str:
    """Whether guests are started with the host: `enabled` or `disabled`."""
    return "enabled" if host.run(["systemctl", "-q", "is-enabled", "xendomains"]).ok else "disabled"


def xendomains_file(host: Host) -> str:
    """Where the script that starts and stops guests has its settings on this host."""
    return next((path for path in XENDOMAINS_FILES if host.run(["test", "-e", path]).ok), XENDOMAINS_FILES[0])


# It says nothing, sleeps, and ends when it is asked to: what Linux runs on such a request is /sbin/poweroff.
_INIT = """\
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
while :; do /bin/busybox sleep 3600; done
"""
# The same with a card that answers, and memory that changes all the time.
_BUSY = """\
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox insmod /xen-netfront.ko
until /bin/busybox ip link set dev eth0 up; do /bin/busybox sleep 1; done
/bin/busybox ip address add @ADDRESS@ dev eth0
@WRITER@while :; do /bin/busybox seq 100000 >/work; /bin/busybox sleep 1; done
"""
# And one that numbers the blocks of a disk, each on the disk before the next: what is lost is missing in the row.
_WRITER = """\
/bin/busybox mount -t devtmpfs dev /dev
for module in /[0-9]*.ko; do /bin/busybox insmod "$module"; done
until [ -b /dev/xvda ]; do /bin/busybox sleep 1; done
/bin/busybox sh /writer /dev/xvda &
"""
WRITER = f"""\
read -r run </proc/sys/kernel/random/uuid
number=0
while /bin/busybox printf '{WRITTEN} %s %d\\n' "$run" "$number" |
  /bin/busybox dd of="$1" bs={BLOCK} seek="$number" conv=sync,notrunc,fsync 2>/dev/null; do
  number=$((number + 1))
  /bin/busybox sleep 0.02
done
"""
# How many blocks of the last run are on a disk, from its start on, and how many are missing among them. Read from the
# disk itself: what this host has in memory of it may be older.
COUNT = f"""\
block() {{ dd if="$1" bs=1M skip="$2" count="$3" iflag=direct status=none | tr -d '\\0'; }}
run=$(block "$1" 0 1 | sed -n 's/^{WRITTEN} \\([^ ]*\\) 0$/\\1/p')
at=0
while [ -n "$run" ]; do
  found=$(block "$1" "$at" 16 | sed -n "s/^{WRITTEN} $run //p")
  [ -n "$found" ] || break
  echo "$found"
  at=$((at + 16))
done | awk '{{ missing += $1 - expected; expected = $1 + 1 }} END {{ print expected + 0, missing + 0 }}'
"""
# Says what the start of a disk holds that a drill may not write over.
BLANK = f"""\
[ -b "$1" ] || {{ echo "no disk"; exit 0; }}
wipefs --noheadings --output TYPE "$1"
start=$(dd if="$1" bs=1M count=16 iflag=direct status=none | tr -d '\\0' | head -c 100)
case "$start" in "" | "{WRITTEN} "*) ;; *) echo "something" ;; esac
"""
# A router between VLANs that come to it tagged on one card: packets of 1,500 bytes, and the tag around them.
_ROUTER = """\
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
for module in /xen-netfront.ko /[0-9]*.ko; do /bin/busybox insmod "$module"; done
until /bin/busybox ip link set dev eth0 mtu 1504 up; do /bin/busybox sleep 1; done
@VLANS@echo 1 >/proc/sys/net/ipv4/ip_forward
while :; do /bin/busybox sleep 3600; done
"""
_VLAN = """\
/bin/busybox vconfig add eth0 {tag}
/bin/busybox ip link set dev eth0.{tag} mtu 1500 up
/bin/busybox ip address add {address} dev eth0.{tag}
"""
_POWEROFF = """\
#!/bin/busybox sh
exec /bin/busybox poweroff -f
"""
# Folder, then modules beside the card's driver; they are numbered in the order that they need each other in.
_MAKE_INITRD = """\
set -e
unpack() {
  case "$1" in
  *.xz) busybox unxz -c "$1" >"$2" ;;
  *.zst) zstd -d -q -c "$1" >"$2" ;;
  ?*) cp "$1" "$2" ;;
  esac
}
folder=$1
shift
cd "$folder/root"
mkdir -p bin sbin proc dev
cp /bin/busybox bin/
chmod 755 init sbin/poweroff
[ -e dev/console ] || mknod dev/console c 5 1
module=$(find "/lib/modules/$(uname -r)/" -name 'xen-netfront.ko*' | head -n 1)
unpack "$module" xen-netfront.ko
number=10
for name in "$@"; do
  for module in $(modprobe --show-depends "$name" | sed -n 's/^insmod \\([^ ]*\\).*/\\1/p'); do
    unpack "$module" "$number-${name}.ko"
    number=$((number + 1))
  done
done
find . | busybox cpio -o -H newc >"$folder/initrd"
"""


_ANSWERS = 'for i in $(seq 60); do busybox ping -c 1 -W 2 "$1" >/dev/null && exit 0; done; exit 1'


def drill_config(kernel: str, card: Card | None = None, *, disk: str = "", kind: GuestKind = "pv") -> str:
    """A guest on dom0's own kernel, which needs no disk. A PV one runs under every accelerator. A PVH one reads the
    clock without Xen's help, which would end it on an emulated processor: Insn len emulation failed."""
    words = ["mac=00:16:3e:0d:11:11", *([f"bridge={card.bridge}"] if card and card.bridge else [])]
    vif = f'vif = [ "{",".join(words)}" ]\n' if card else ""
    words = ["format=raw", "vdev=xvda", "access=rw", "backendtype=phy", f"target={disk}"]
    vbd = f'disk = [ "{",".join(words)}" ]\n' if disk else ""
    clock = 'tsc_mode = "native"\n' if kind == "pvh" else ""
    return (
        f'name = "{DRILL_GUEST}"\ntype = "{kind}"\nkernel = "/boot/vmlinuz-{kernel}"\n'
        f'ramdisk = "{_DRILL_FOLDER}/initrd"\nmemory = 192\nmaxmem = 256\nvcpus = 1\n'
        'extra = "console=hvc0"\n'
        'on_poweroff = "destroy"\non_reboot = "restart"\non_crash = "destroy"\n' + clock + vif + vbd
    )


def drill_init(card: Card | None, disk: str = "") -> str:
    """The guest's first program."""
    if card and card.vlans:
        vlans = "".join(_VLAN.format(tag=tag, address=address) for tag, address in card.vlans.items())
        return _ROUTER.replace("@VLANS@", vlans)
    busy = _BUSY.replace("@WRITER@", _WRITER if disk else "")
    return busy.replace("@ADDRESS@", card.address) if card and card.address else _INIT


def kinds(host: Host) -> tuple[GuestKind, ...]:
    """What guests the host can run without a firmware, by what Xen says of its processor."""
    capabilities = fields(ask(host, "xl", "info")).get("virt_caps", "").split()
    return ("pv", "pvh") if "hvm" in capabilities else ("pv",)


def written(host: Host, disk: str) -> tuple[int, int]:
    """How many blocks a drill's guest has written to a disk, and how many of these are missing. One that is written
    while the disk is read may be missed once, and is there the next time. Raises LabError."""
    for _ in range(3):
        blocks, missing = ask(host, "sh", "-c", COUNT, "sh", disk, timeout=900).split()
        if missing == "0":
            break
    return int(blocks), int(missing)


def make_initrd(
    host: Host, folder: str, files: Mapping[str, str], modules: Sequence[str] = (), *, timeout: float = 60
) -> None:
    """FOLDER/initrd: a memory root with busybox and `files`, by their path in it, of which `init` is what is started
    first; with the module of Xen's network card, and of these. Raises LabError."""
    ask(host, "mkdir", "-p", f"{folder}/root/sbin")
    for path, text in {**files, "sbin/poweroff": _POWEROFF}.items():
        host.write(f"{folder}/root/{path}", text.encode())
    ask(host, "sh", "-c", _MAKE_INITRD, "sh", folder, *modules, timeout=timeout)


@contextlib.contextmanager
def drill_guest(host: Host, card: Card | None = None, *, disk: str = "", kind: GuestKind = "pv") -> Iterator[None]:
    """A guest that runs while a drill goes on, with its configuration in /etc/xen; one with an address answers first.
    `disk` is a block device of the host that a guest with an address writes to all the time: an empty one, or one that
    a drill wrote to before. Raises LabError.
    """
    if kind not in kinds(host):
        raise LabError(
            f"{host.name} runs no {kind} guests: its processor shows Xen no virtualisation",
            hint="the lab's machine needs KVM with nesting; the guest is pv without it (nestlab doctor)",
        )
    if disk and (held := ask(host, "sh", "-c", BLANK, "sh", disk).strip()):
        raise LabError(f"{host.name}: {disk} holds {held}: a drill writes over nothing", hint="name an empty disk")
    modules = [*(["8021q"] if card and card.vlans else []), *(["xen-blkfront"] if disk else [])]
    config = f"/etc/xen/{DRILL_GUEST}.cfg"
    make_initrd(host, _DRILL_FOLDER, {"init": drill_init(card, disk), "writer": WRITER}, modules)
    kernel = ask(host, "uname", "-r").strip()
    host.write(config, drill_config(kernel, card, disk=disk, kind=kind).encode())
    try:
        ask(host, "xl", "create", "-q", config, timeout=600)
        if card and card.address:
            ask(host, "sh", "-c", _ANSWERS, "sh", card.address.partition("/")[0], timeout=900)
        yield
    finally:
        if is_running(host, DRILL_GUEST):
            host.run(["xl", "destroy", DRILL_GUEST])
        host.run(["rm", "-rf", "--", _DRILL_FOLDER, config])
