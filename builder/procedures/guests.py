"""Guests of a host driven by xl: where their configurations are, and a small one that drills are done with."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from builder.model.host import Host
from builder.procedures.api import Card
from builder.procedures.asking import ask, domains, running_guests

FOLDERS = ("/etc/xen", "/etc/xen/auto")
AUTO = "/etc/xen/auto"
XENDOMAINS_FILES = ("/etc/default/xendomains", "/etc/sysconfig/xendomains")
"""Debian's and SUSE's place for the settings of the script that starts and stops guests."""
DRILL_GUEST = "nestlab-drill"
_DRILL_FOLDER = "/var/lib/nestlab/drill"
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
while :; do /bin/busybox seq 100000 >/work; /bin/busybox sleep 1; done
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


def drill_config(kernel: str, card: Card | None = None) -> str:
    """A PV guest on dom0's own kernel: it needs no disk and runs under every accelerator."""
    words = ["mac=00:16:3e:0d:11:11", *([f"bridge={card.bridge}"] if card and card.bridge else [])]
    vif = f'vif = [ "{",".join(words)}" ]\n' if card else ""
    return (
        f'name = "{DRILL_GUEST}"\ntype = "pv"\nkernel = "/boot/vmlinuz-{kernel}"\n'
        f'ramdisk = "{_DRILL_FOLDER}/initrd"\nmemory = 192\nmaxmem = 256\nvcpus = 1\n'
        'extra = "console=hvc0"\n'
        'on_poweroff = "destroy"\non_reboot = "restart"\non_crash = "destroy"\n' + vif
    )


def drill_init(card: Card | None) -> str:
    """The guest's first and only program."""
    if card and card.vlans:
        vlans = "".join(_VLAN.format(tag=tag, address=address) for tag, address in card.vlans.items())
        return _ROUTER.replace("@VLANS@", vlans)
    return _BUSY.replace("@ADDRESS@", card.address) if card and card.address else _INIT


@contextlib.contextmanager
def drill_guest(host: Host, card: Card | None = None) -> Iterator[None]:
    """A guest that runs while a drill goes on, with its configuration in /etc/xen; one with an address answers first.
    Raises LabError."""
    config = f"/etc/xen/{DRILL_GUEST}.cfg"
    ask(host, "mkdir", "-p", f"{_DRILL_FOLDER}/root/sbin")
    host.write(f"{_DRILL_FOLDER}/root/init", drill_init(card).encode(), mode=0o755)
    host.write(f"{_DRILL_FOLDER}/root/sbin/poweroff", _POWEROFF.encode(), mode=0o755)
    ask(host, "sh", "-c", _MAKE_INITRD, "sh", _DRILL_FOLDER, *(["8021q"] if card and card.vlans else []))
    host.write(config, drill_config(ask(host, "uname", "-r").strip(), card).encode())
    try:
        ask(host, "xl", "create", "-q", config, timeout=600)
        if card and card.address:
            ask(host, "sh", "-c", _ANSWERS, "sh", card.address.partition("/")[0], timeout=900)
        yield
    finally:
        if is_running(host, DRILL_GUEST):
            host.run(["xl", "destroy", DRILL_GUEST])
        host.run(["rm", "-rf", "--", _DRILL_FOLDER, config])
