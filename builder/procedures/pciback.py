"""xen-pciback where it is a module, as on Debian: modprobe's options, the drivers that wait for it, and the initrd.

Measured with kmod 30 and 34: of several `hide=` the kernel takes the last, and modprobe gives those of the kernel's
command line last, behind all files; of several `softdep` lines for a driver, those in modules.softdep among them, the
first counts alone. So there is a file that is read first, which takes over what the line that it hides says, and one
that is read last.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from builder.model.host import Host
from builder.model.lab import Value
from builder.procedures.api import Action, Remove, Run, Write, as_it_was, run
from builder.procedures.asking import ask, read_text

WAIT = "/etc/modprobe.d/00-nestlab-pci-hide.conf"
OPTIONS = "/etc/modprobe.d/zz-nestlab-pci-hide.conf"
LOAD = "/etc/modules-load.d/nestlab-pci-hide.conf"
PATHS = (WAIT, OPTIONS, LOAD)
TOOLS = ("update-initramfs", "mkinitramfs", "unmkinitramfs")
Files = Mapping[str, str | None]
"""Path -> text; None for a file that is not there."""

# For each device its driver, that driver's module if it can be loaded, and what would be loaded for it; what the module
# hides now; the tools there are; modprobe's settings, those of the kernel's command line included.
_LOOK = r"""
for device in "$@"; do
  at=/sys/bus/pci/devices/$device
  [ -e "$at" ] || continue
  driver=$(readlink "$at/driver") || driver=none
  module=none
  [ ! -e "$at/driver/module/initstate" ] || module=$(readlink "$at/driver/module")
  echo "device $device ${module##*/} ${driver##*/}"
  modprobe -q -R "$(cat "$at/modalias")" | sed 's/^/would /'
done
[ ! -e /sys/module/xen_pciback/parameters/hide ] || sed 's/^/hidden /' /sys/module/xen_pciback/parameters/hide
for tool in update-initramfs mkinitramfs unmkinitramfs; do
  command -v $tool >/dev/null && echo "tool $tool"
done
modprobe -c | sed -n -e '/^# End of configuration files/q' -e '/^options xen_pciback /p' -e '/^softdep /p'
"""
# modprobe itself is asked: $1 is what it is to hide, the rest are drivers that are to wait.
_JUDGE = r"""
hide=$1
shift
said=$(modprobe --show-depends xen-pciback | sed -n 's/.*xen-pciback\.ko.* hide=\([^ ]*\).*/\1/p')
if [ "$said" != "$hide" ] && ! grep -q 'xen[-_]pciback\.hide=' /proc/cmdline; then
  echo "modprobe would hide ${said:-nothing}, not $hide" >&2
  exit 1
fi
for driver in "$@"; do
  said=$(modprobe -q --show-depends "$driver") || continue
  case $said in
  builtin* | */xen-pciback.ko*) ;;
  *)
    echo "$driver would not wait for xen-pciback" >&2
    exit 1
    ;;
  esac
done
"""
# Every kernel's initrd holds these files ($1 and $2) as they are, and xen-pciback beside each driver that waits.
_INITRDS = r"""
set -eu
first=$1
last=$2
shift 2
seen=
for initrd in /boot/initrd.img-*; do
  [ -e "/boot/vmlinuz-${initrd#/boot/initrd.img-}" ] || continue
  seen=yes
  folder=$(mktemp -d /var/tmp/nestlab-initrd.XXXXXX)
  trap 'rm -rf "$folder"' EXIT
  unmkinitramfs "$initrd" "$folder"
  main=$folder
  [ ! -d "$folder/main" ] || main=$folder/main
  for file in "$first" "$last"; do
    [ ! -e "$file" ] || cmp -s "$file" "$main$file" || { echo "$initrd does not hold $file as it is" >&2; exit 1; }
  done
  for driver in "$@"; do
    name=$(echo "$driver" | sed 's/_/[-_]/g')
    [ -z "$(find "$main/" -name "$name.ko*")" ] || [ -n "$(find "$main/" -name 'xen-pciback.ko*')" ] || {
      echo "$initrd holds $driver and not xen-pciback" >&2
      exit 1
    }
  done
  rm -rf "$folder"
done
[ -n "$seen" ] || { echo "there is no initrd in /boot for a kernel that is there" >&2; exit 1; }
"""
_HEAD = "# Written by `nestlab procedure run`: pci-hide."
_HIDE = re.compile(r"""^options\s+xen[-_]pciback\s(?:.*\s)?hide=("[^"]*"|\S*)""", re.MULTILINE)
_MODULE = "xen-pciback"


class Module(Value):
    """`bound`: device -> its driver. `built_in` are devices whose driver no module can come before; `drivers` are
    modules that would take the devices. `options` are modprobe's values of hide= and `softdeps` its lines of that kind,
    in the order in which it has them."""

    bound: Mapping[str, str]
    built_in: tuple[str, ...]
    drivers: tuple[str, ...]
    hidden: tuple[str, ...]
    options: tuple[str, ...]
    softdeps: tuple[str, ...]
    tools: tuple[str, ...]


SAMPLE = Module(
    bound={"0000:03:00.0": "igb"}, built_in=(), drivers=("igb",), hidden=(), options=(), tools=TOOLS,
    softdeps=("softdep r8169 pre: realtek",),
)  # fmt: skip


def look(host: Host, devices: Sequence[str]) -> Module:
    """Reads only."""
    rows = ask(host, "sh", "-c", _LOOK, "sh", *devices).splitlines()
    told = [row.split(maxsplit=3)[1:] for row in rows if row.startswith("device ")]
    found = {module for _, module, _ in told} | {row.removeprefix("would ") for row in rows if row.startswith("would ")}
    return Module(
        bound={device: driver for device, _, driver in told},
        built_in=tuple(device for device, module, driver in told if driver != "none" and module == "none"),
        drivers=tuple(sorted({name.replace("-", "_") for name in found} - {"none", "xen_pciback"})),
        # the kernel shows a parameter that was not given as "(null)"
        hidden=tuple(entry for row in rows if row.startswith("hidden ") for entry in entries(row) if entry != "null"),
        options=tuple(_unquoted(value) for row in rows for value in _HIDE.findall(row)),
        softdeps=tuple(row for row in rows if row.startswith("softdep ")),
        tools=tuple(row.removeprefix("tool ") for row in rows if row.startswith("tool ")),
    )


def files(host: Host) -> Files:
    """Ours, as they are."""
    return {path: read_text(host, path) for path in PATHS}


def entries(value: str) -> tuple[str, ...]:
    """Devices of a hide=, as they stand: (03:00.0)(0000:04:00.*)."""
    return tuple(re.findall(r"\(([^()]*)\)", value))


def joined(hidden: Iterable[str]) -> str:
    return "".join(f"({entry})" for entry in hidden)


def full(device: str) -> str:
    """With the PCI domain, which the driver wants."""
    return device if device.count(":") == 2 else f"0000:{device}"


def same_devices(one: Iterable[str], other: Iterable[str]) -> bool:
    return normal(one) == normal(other)


def normal(hidden: Iterable[str]) -> list[str]:
    """In one way of writing, in order."""
    return sorted({full(entry.strip().lower()) for entry in hidden})


def of_files(module: Module, ours: Files, of_kernel: int) -> tuple[str, ...]:
    """What files of others hide: the last that sets it counts. `of_kernel` options are the kernel's command line's."""
    values = list(module.options[: len(module.options) - of_kernel])
    for value in map(_unquoted, _HIDE.findall(ours.get(OPTIONS) or "")):
        if value in values:  # ours is read last
            del values[len(values) - 1 - values[::-1].index(value)]
    return entries(values[-1]) if values else ()


def together(others: Sequence[str], devices: Sequence[str]) -> tuple[str, ...]:
    """What is hidden already, and these: of several lines the kernel would take one."""
    missing = [at for at in devices if not covers(others, at)]
    return tuple(dict.fromkeys([*others, *missing]))


def covers(hidden: Sequence[str], device: str) -> bool:
    """Whether one of these is the device, or says it with a star."""
    return any(fnmatchcase(device, pattern) for pattern in normal(hidden))


def waiting(module: Module, ours: Files) -> tuple[str, ...]:
    """Drivers that have to wait: a device that is hidden no longer tells which driver it had, our file does."""
    before = re.findall(r"^softdep (\S+) ", ours.get(WAIT) or "", re.MULTILINE)
    return tuple(sorted({*before, *module.drivers}))


def wanted(module: Module, ours: Files, hidden: Sequence[str]) -> Files:
    """The files that hide these devices."""
    lines = [_softdep(driver, module.softdeps, ours.get(WAIT) or "") for driver in waiting(module, ours)]
    wait = (
        f"{_HEAD} These drivers would take devices that are\n# to be hidden, so they wait. The first line for a driver"
        " counts alone: each has what others say as well.\n"
    )
    options = (
        f"{_HEAD} The kernel takes the last of such lines,\n# which this is: what is hidden without it is named again."
        f"\noptions {_MODULE} hide={joined(hidden)}\n"
    )
    return {
        WAIT: wait + "".join(f"{line}\n" for line in lines) if lines else None,
        OPTIONS: options,
        LOAD: f"{_HEAD} It is there even where no driver waits for it.\n{_MODULE}\n",
    }


def writes(now: Files, then: Files) -> tuple[Write | Remove, ...]:
    """What leads from one to the other."""
    return tuple(as_it_was(path, text) for path, text in then.items() if now.get(path) != text)


def judge(module: Module, ours: Files, hidden: Sequence[str]) -> Run:
    """Whether modprobe takes the files as they are meant."""
    hint = "is there a file in /etc/modprobe.d that is read before ours (softdep) or behind it (options)?"
    return run("sh", "-c", _JUDGE, "sh", joined(hidden), *waiting(module, ours), hint=hint)


REBUILD: tuple[Action, ...] = (run("update-initramfs", "-u", "-k", "all", seconds=600),)


def in_initrds(module: Module, ours: Files) -> Run:
    """Whether the initrds have it all: many of these drivers are loaded there."""
    hint = "does /etc/initramfs-tools/update-initramfs.conf say update_initramfs=no?"
    return run("sh", "-c", _INITRDS, "sh", WAIT, OPTIONS, *waiting(module, ours), seconds=600, hint=hint)


def _softdep(driver: str, lines: Sequence[str], ours: str) -> str:
    """The line for a driver: xen-pciback before it, and what the line that counted without ours says."""
    mine = [_parts(line) for line in ours.splitlines() if line.startswith(f"softdep {driver} ")]
    others = [parts for parts in map(_parts, lines) if fnmatchcase(driver, parts[0])]
    for each in mine:
        if each in others:
            others.remove(each)
    before, after = others[0][1:] if others else ((), ())
    pre = " ".join(dict.fromkeys([_MODULE, *before]))
    return f"softdep {driver} pre: {pre}" + (f" post: {' '.join(after)}" if after else "")


def _parts(line: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Name, pre and post of a line; `modprobe -c` leaves out the space before `post:`."""
    name, _, rest = line.removeprefix("softdep ").strip().partition(" ")
    pre, _, post = rest.partition("post:")
    return name.replace("-", "_"), tuple(pre.replace("pre:", " ").split()), tuple(post.split())


def _unquoted(value: str) -> str:
    return value.strip('"')
