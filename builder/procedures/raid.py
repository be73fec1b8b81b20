"""Software RAID as a host shows it: what mdadm and the kernel say of arrays, and the files that start them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from builder.model.host import Host
from builder.model.lab import Value
from builder.procedures.api import Action, run
from builder.procedures.asking import fields

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
    """Array -> UUID of what lies on the disks, by `mdadm --examine --brief --scan`. Arrays of two hosts may have one
    name, and some have none: these are told apart by their UUID."""
    found: dict[str, str] = {}
    for name, uuid in re.findall(rf"^ARRAY (\S*) .*?{_UUID}", text, re.MULTILINE):
        known = _node(name)
        found[f"{known} UUID={uuid}".strip() if not known or found.get(known, uuid) != uuid else known] = uuid
    return found


def carriers(text: str, uuid: str) -> tuple[str, ...]:
    """The disks that say they are of this array, by `mdadm --examine --brief --scan --verbose`."""
    found = re.search(rf"^ARRAY .*UUID={uuid}.*\n(?:[ \t].*)?\bdevices=(\S+)", text, re.MULTILINE)
    return tuple(found[1].split(",")) if found else ()


class Entry(Value):
    """What mdadm.conf says of an array: its text as it is written, the array's device, and its UUID as mdadm shows
    it; empty for what it does not say."""

    text: str
    node: str
    uuid: str


def entries(config: str) -> list[Entry]:
    """Every array in mdadm.conf. mdadm takes any case, spacing and punctuation."""
    found = []
    for block in _blocks(config):
        word, *rest = [*_words(block), ""]
        if len(word) < 3 or not "array".startswith(word.lower()):
            continue
        uuid = next(
            (re.sub(r"[^0-9a-f]", "", each[5:].lower()) for each in rest if each.lower().startswith("uuid=")), ""
        )
        node = next((each for each in rest if each and (each[0] == "/" or "=" not in each)), "")
        uuid = ":".join(uuid[at : at + 8] for at in range(0, 32, 8)) if len(uuid) == 32 else ""
        found.append(Entry(text="\n".join(block), node=_node(node), uuid=uuid))
    return found


def about(config: str, node: str, uuid: str) -> str:
    """All that mdadm.conf says of the array, or of another one by its name. What is there twice is not put together."""
    return "\n".join(each.text for each in entries(config) if each.node == node or (uuid and each.uuid == uuid))


def others(config: str, told: str) -> str:
    """mdadm.conf without this of `about`."""
    gone = {each.text for each in entries(told)}
    return "".join(f"{line}\n" for block in _blocks(config) if "\n".join(block) not in gone for line in block)


def entry(told: str, node: str, uuid: str, version: str) -> str:
    """What mdadm.conf has to say of an array: by its UUID alone, as names change. Its owner's settings stay."""
    kept = [word for each in entries(told) if each.node == node and each.uuid == uuid
            for word in _words(each.text.splitlines())
            if word.lower().startswith(("spare-group=", "spares=", "auto=", "bitmap="))]  # fmt: skip
    return " ".join(["ARRAY", node, f"metadata={version}", f"UUID={uuid}", *kept])


def barred(config: str, disks: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The disks, each with all its names, that DEVICE lines leave out: mdadm does not look at these."""
    given = [word for key, *rest in (_words(block) or [""] for block in _blocks(config))
             if len(key) >= 3 and "devices".startswith(key.lower()) for word in rest]  # fmt: skip
    if not given or "partitions" in map(str.lower, given):
        return ()
    return tuple(names[0] for names in disks
                 if not any(fnmatchcase(name, word) and name.count("/") == word.count("/")
                            for name in names for word in given))  # fmt: skip


def _node(name: str) -> str:
    return re.sub(r"^(?:/dev/md/?|md)?(\d+)$", r"/dev/md\1", name)


def _blocks(config: str) -> list[list[str]]:
    """Lines of mdadm.conf, each with those that go on with it: they begin with a space."""
    blocks: list[list[str]] = []
    last = -1
    for line in config.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            blocks.append([line])
        elif line[0] in " \t" and last >= 0:
            blocks[last:] = [[*(each for block in blocks[last:] for each in block), line]]
        else:
            last = len(blocks)
            blocks.append([line])
    return blocks


def _words(lines: Sequence[str]) -> list[str]:
    """As they are written, with their quotes; a comment begins with a word."""
    found = []
    for line in lines:
        for word in re.findall(r"""(?:[^\s'"]|'[^']*'|"[^"]*"|['"])+""", line):
            if word.startswith("#"):
                break
            found.append(word)
    return found


def named(text: str) -> set[str]:
    """The UUIDs in mdadm.conf, or in dracut's settings."""
    given = {each.uuid for each in entries(text) if each.uuid and each.node.lower() != "<ignore>"}
    return given | {uuid for _, line in _lines(text) for uuid in re.findall(r"rd\.md\.uuid=([0-9a-f:]+)", line)}


def mismatches(config: str, dracut: str | None, found: dict[str, str]) -> list[str]:
    """Where the files that start arrays say something else than the disks do; every one by name."""
    told = [
        f"mdadm.conf names {each.node or 'an array'} with UUID {each.uuid}, which no disk has"
        for each in entries(config)
        if each.uuid and each.node.lower() != "<ignore>" and each.uuid not in found.values()
    ]
    told += broken_quotes(dracut)
    told += [f"dracut's settings, line {number}: spaces are missing inside the quotes: {line}"
             for number, line in _lines(dracut) if re.match(r'\w+\+="(\S.*|.*\S)"$', line)]  # fmt: skip
    told += [f"dracut's settings ask for an array with UUID {uuid}, which no disk has"
             for _, line in _lines(dracut) for uuid in re.findall(r"rd\.md\.uuid=([0-9a-f:]+)", line)
             if uuid not in found.values()]  # fmt: skip
    return told


def broken_quotes(dracut: str | None) -> list[str]:
    """A quote that is not closed takes in all that stands below it, whatever is added there."""
    return [f"dracut's settings, line {number}: a quote is not closed: {line}"
            for number, line in _lines(dracut) if _is_open(line)]  # fmt: skip


def _is_open(line: str) -> bool:
    try:
        shlex.split(line, comments=True)
    except ValueError as error:
        return "quotation" in str(error)
    return False


def _lines(text: str | None) -> Iterator[tuple[int, str]]:
    """Without comments."""
    lines = enumerate((text or "").splitlines(), 1)
    return ((number, line) for number, line in lines if not line.lstrip().startswith("#"))


_DRACUT = """\
add_dracutmodules+=" mdraid "
add_drivers+=" md_mod raid0 raid1 raid456 raid10 "
kernel_cmdline+=" rd.auto=1 "
kernel_cmdline+=" rd.md=1 "
kernel_cmdline+=" rd.md.conf=1 "
"""


def with_array(text: str, node: str, uuid: str) -> str:
    """dracut's settings with one more array. The spaces inside the quotes keep the pieces apart. What is there stays:
    one line may be about several arrays."""
    text = text or _DRACUT
    device, array = _added(node, uuid)
    there = (asks(text, node), uuid in named(text))
    lines = [line for line, is_there in zip((device, array), there, strict=True) if not is_there]
    return "".join(f"{line}\n" for line in (*text.splitlines(), *lines))


def without_array(text: str, node: str, uuid: str, *, keep: str = "") -> str:
    """dracut's settings without the lines that were added for an array to those in `keep`; empty when no array is left
    that we named."""
    before = keep.splitlines()
    lines = [line for line in text.splitlines() if line in before or line not in _added(node, uuid)]
    rest = "".join(f"{line}\n" for line in lines)
    if lines == before:
        return keep
    return "" if rest == _DRACUT else rest


def asks(text: str, node: str) -> str:
    """The first line of dracut's settings that is about an array's device."""
    return next((line for _, line in _lines(text) if f" {node} " in line), "")


def _added(node: str, uuid: str) -> tuple[str, str]:
    return (f'add_device+=" {node} "', f'kernel_cmdline+=" rd.md.uuid={uuid} "')


def initrd_names(host: Host) -> set[str]:
    """The UUIDs in the mdadm.conf that the initrd of the running kernel carries (dracut); none where it has none."""
    script = 'lsinitrd -f etc/mdadm.conf "/boot/initrd-$(uname -r).img"'
    return named(host.run(["sh", "-c", script], timeout=300).stdout)
