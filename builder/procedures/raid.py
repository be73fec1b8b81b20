"""Software RAID as a host shows it: what mdadm and the kernel say of arrays, and the files that start them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from builder.model.host import Host
from builder.model.lab import Value
from builder.procedures.api import Action, run
from builder.procedures.asking import ask, fields

XL_CONFIG = "/etc/mdadm/mdadm.conf"
XE_CONFIG = "/etc/mdadm.conf"
XE_DRACUT = "/etc/dracut.conf.d/dracut_mdraid.conf"
XL_REBUILD: tuple[Action, ...] = (run("update-initramfs", "-u", seconds=180),)
XE_REBUILD: tuple[Action, ...] = (
    run("sh", "-c", 'dracut --force "/boot/initrd-$(uname -r).img" "$(uname -r)"', seconds=600),
)
NAME = r"^md[0-9]{1,3}$"

_UUID = r"UUID=([0-9a-f:]{35})"
# A row of `mdadm --detail` for a disk: number, major, minor, place in the array, what it does, its name.
_MEMBER = re.compile(r"^ +(?:\d+|-) +\d+ +\d+ +(?:\d+|-) .*?(/dev/\S+)$", re.MULTILINE)
# An array in /proc/mdstat with the lines below it; how many disks it should have and how many are in step; what is done
# to it, and how far that is.
_ARRAY = re.compile(r"^(md\S*) : (\w+)(.*(?:\n[ \t].*)*)", re.MULTILINE)
_IN_STEP = re.compile(r"\[(\d+)/(\d+)\]")
_DOING = re.compile(r"\b(?:resync|recovery|reshape|check|repair) *= *\S+")


class Running(Value):
    """An array by /proc/mdstat. `state` is active or inactive; of `wanted` disks `in_step` hold all that they should;
    `doing` is what goes on, such as "resync = 12.6%"."""

    state: str
    wanted: int = 0
    in_step: int = 0
    doing: str = ""

    @property
    def well(self) -> bool:
        return self.state == "active" and self.wanted == self.in_step and not self.doing

    def __str__(self) -> str:
        return f"{self.state}, {self.in_step} of {self.wanted} disks{', ' if self.doing else ''}{self.doing}"


def running(host: Host) -> dict[str, Running]:
    """Every array that the kernel has, by its name; none where it has no RAID at all."""
    found = {}
    for name, state, rest in _ARRAY.findall(host.run(["cat", "/proc/mdstat"]).stdout):
        counted, doing = _IN_STEP.search(rest), _DOING.search(rest)
        wanted, in_step = map(int, counted.groups()) if counted else (0, 0)
        found[name] = Running(
            state=state, wanted=wanted, in_step=in_step, doing=re.sub(r" *= *", " = ", doing[0]) if doing else ""
        )
    return found


def detail(host: Host, node: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """What `mdadm --detail` says of an array, and its disks as they are called now; nothing where there is none."""
    shown = host.run(["mdadm", "--detail", node])
    return (fields(shown.stdout), members(shown.stdout)) if shown.ok else ({}, ())


def members(text: str) -> tuple[str, ...]:
    """The disks in a `mdadm --detail`."""
    return tuple(_MEMBER.findall(text))


def examined(text: str) -> dict[str, str]:
    """Array -> UUID of what lies on the disks, by `mdadm --examine --brief --scan`."""
    found = re.findall(rf"^ARRAY (\S+).*?{_UUID}", text, re.MULTILINE)
    return {re.sub(r"^/dev/md/(\d+)$", r"/dev/md\1", name): uuid for name, uuid in found}


def carriers(text: str, uuid: str) -> tuple[str, ...]:
    """The disks that say they are of this array, by `mdadm --examine --brief --scan --verbose`."""
    found = re.search(rf"^ARRAY .*UUID={uuid}.*\n(?:[ \t].*)?\bdevices=(\S+)", text, re.MULTILINE)
    return tuple(found[1].split(",")) if found else ()


def named(text: str) -> set[str]:
    """The UUIDs in mdadm.conf, or in dracut's settings."""
    return {uuid for pair in re.findall(rf"^ARRAY .*?{_UUID}|rd\.md\.uuid=([0-9a-f:]+)", text, re.MULTILINE)
            for uuid in pair if uuid}  # fmt: skip


def mismatches(config: str, dracut: str | None, found: dict[str, str]) -> list[str]:
    """Where the files that start arrays say something else than the disks do; every one by name."""
    told = [
        f"mdadm.conf names {name} with UUID {uuid}, which no disk has"
        for name, uuid in re.findall(rf"^ARRAY (\S+).*?{_UUID}", config, re.MULTILINE)
        if uuid not in found.values()
    ]
    told += broken_quotes(dracut)
    told += [f"dracut's settings, line {number}: spaces are missing inside the quotes: {line}"
             for number, line in _lines(dracut) if re.match(r'\w+\+="(\S.*|.*\S)"$', line)]  # fmt: skip
    for uuid in re.findall(r"rd\.md\.uuid=([0-9a-f:]+)", dracut or ""):
        if uuid not in found.values():
            told.append(f"dracut's settings ask for an array with UUID {uuid}, which no disk has")
    return told


def broken_quotes(dracut: str | None) -> list[str]:
    """A quote that is not closed takes in all that stands below it, whatever is added there."""
    return [f"dracut's settings, line {number}: a quote is not closed: {line}"
            for number, line in _lines(dracut) if line.count('"') % 2]  # fmt: skip


def _lines(text: str | None) -> Iterator[tuple[int, str]]:
    return enumerate((text or "").splitlines(), 1)


_DRACUT = """\
add_dracutmodules+=" mdraid "
add_drivers+=" md_mod raid0 raid1 raid456 raid10 "
kernel_cmdline+=" rd.auto=1 "
kernel_cmdline+=" rd.md=1 "
kernel_cmdline+=" rd.md.conf=1 "
"""


def with_array(text: str, node: str, uuid: str) -> str:
    """dracut's settings with one more array. The spaces inside the quotes keep the pieces apart."""
    lines = [line for line in (text or _DRACUT).splitlines() if f" {node} " not in line]
    return "".join(
        f"{line}\n" for line in (*lines, f'add_device+=" {node} "', f'kernel_cmdline+=" rd.md.uuid={uuid} "')
    )


def without_array(text: str, node: str, uuid: str, *, keep: str = "") -> str:
    """dracut's settings without an array's lines but those in `keep`; empty when no array is left that we named."""
    before = keep.splitlines()
    lines = [line for line in text.splitlines()
             if line in before or not (f" {node} " in line or (uuid and f"rd.md.uuid={uuid} " in line))]  # fmt: skip
    rest = "".join(f"{line}\n" for line in lines)
    return keep if rest == _DRACUT and not keep else rest


def initrd_names(host: Host) -> set[str]:
    """The UUIDs in the mdadm.conf that the initrd of the running kernel carries (dracut)."""
    script = 'lsinitrd -f etc/mdadm.conf "/boot/initrd-$(uname -r).img"'
    return named(ask(host, "sh", "-c", script, timeout=300))
