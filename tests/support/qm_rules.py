"""qm's rules, restated apart from the code that writes calls: a judge of one call at a time.

From the schema of Proxmox VE's own options (qemu-server e6352be of August 2026: `confdesc` of QemuServer.pm, the
formats of QemuServer/Drive.pm, Network.pm and Machine.pm), as far as it is about what is exported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

Check = Callable[[str], bool]


def _one_of(*values: str) -> Check:
    return lambda value: value in values


def _number(least: int, most: int) -> Check:
    return lambda value: value.isdecimal() and least <= int(value) <= most


def _like(pattern: str) -> Check:
    return lambda value: re.fullmatch(pattern, value) is not None


_MODELS = (
    "e1000", "e1000-82540em", "e1000-82544gc", "e1000-82545em", "e1000e", "i82551", "i82557b", "i82559er", "ne2k_isa",
    "ne2k_pci", "pcnet", "rtl8139", "virtio", "vmxnet3",
)  # fmt: skip
_MAC = r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}"
_VOLUME = r"[A-Za-z][A-Za-z0-9._-]*:\S+|/.+|none"
_DRIVE: Mapping[str, Check] = {
    "file": _like(_VOLUME), "media": _one_of("cdrom", "disk"), "import-from": _like(r"/.+|[A-Za-z][\w.-]*:\S+"),
    "cache": _one_of("none", "writethrough", "writeback", "unsafe", "directsync"), "discard": _one_of("ignore", "on"),
    "format": _one_of("raw", "qcow2", "vmdk"), "serial": _like(r".{1,60}"), "ssd": _one_of("0", "1"),
}  # fmt: skip
_EFI: Mapping[str, Check] = {
    "file": _like(_VOLUME), "efitype": _one_of("2m", "4m"), "pre-enrolled-keys": _one_of("0", "1"),
    "format": _one_of("raw", "qcow2", "vmdk"),
}  # fmt: skip
_NET: Mapping[str, Check] = {
    **{model: _like(_MAC) for model in _MODELS}, "model": _one_of(*_MODELS), "macaddr": _like(_MAC),
    "bridge": _like(r"[-_.\w]+"), "tag": _number(1, 4094), "trunks": _like(r"\d+(-\d+)?(;\d+(-\d+)?)*"),
    "mtu": _number(1, 65520), "firewall": _one_of("0", "1"), "link_down": _one_of("0", "1"),
}  # fmt: skip
_DEVICE = r"(scsi([0-9]|[12]\d|30)|ide[0-3]|sata[0-5]|virtio([0-9]|1[0-5])|net([0-9]|[12]\d|3[01]))"
_PLAIN: Mapping[str, Check] = {
    "name": _like(r"(?=.{1,63}$)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9-]+)*"),
    "tags": _like(r"[a-z0-9_][a-z0-9_+.-]*([;, ][a-z0-9_][a-z0-9_+.-]*)*"),
    "ostype": _one_of("other", "wxp", "w2k", "w2k3", "w2k8", "wvista", "win7", "win8", "win10", "win11", "l24", "l26",
                      "solaris"),
    # "Intel vIOMMU needs q35 to be set as machine type"
    "machine": _like(r"pc|pc(-i440fx)?-\d+(\.\d+)+(\+pve\d+)?(\.pxe)?|"
                     r"(q35|pc-q35-\d+(\.\d+)+(\+pve\d+)?(\.pxe)?)(,viommu=(intel|virtio))?"),
    "bios": _one_of("seabios", "ovmf"), "cpu": _like(r"(host|max|kvm64|qemu64|x86-64-v\d[\w-]*)(,.*)?"),
    "sockets": _number(1, 64), "cores": _number(1, 512), "memory": _number(16, 1 << 32), "balloon": _number(0, 1 << 32),
    "scsihw": _one_of("lsi", "lsi53c810", "virtio-scsi-pci", "virtio-scsi-single", "megasas", "pvscsi"),
    "boot": _like(rf"order={_DEVICE}(;{_DEVICE})*"),
}  # fmt: skip
_FORMATS: Sequence[tuple[str, Mapping[str, Check], str]] = (
    (r"scsi([0-9]|[12]\d|30)|ide[0-3]|sata[0-5]|virtio([0-9]|1[0-5])", _DRIVE, "file"),
    (r"efidisk0", _EFI, "file"),
    (r"net([0-9]|[12]\d|3[01])", _NET, "model"),
)
_VERBS = {"list": (0, ()), "create": (1, None), "set": (1, None), "config": (1, ()), "status": (1, ()),
          "start": (1, ()), "stop": (1, ()), "destroy": (1, ("purge", "destroy-unreferenced-disks"))}  # fmt: skip


def problems(words: Sequence[str]) -> list[str]:
    """What qm would have against a call, without its own name."""
    if not words or words[0] not in _VERBS:
        return [f"no such command: {' '.join(words[:1])}"]
    arguments, options = _VERBS[words[0]]
    number, rest = words[1 : 1 + arguments], words[1 + arguments :]
    found = [] if all(_number(100, 999_999_999)(each) for each in number) and len(number) == arguments else ["no vmid"]
    if len(rest) % 2:
        return [*found, "an option without a value"]
    for name, value in zip(rest[::2], rest[1::2], strict=True):
        if not name.startswith("--"):
            found.append(f"{name!r} is no option")
        elif options is not None:
            found += [] if name[2:] in options and value in "01" else [f"{words[0]}: {name} {value}"]
        else:
            found += _option(name[2:], value)
    return found


def _option(name: str, value: str) -> list[str]:
    if re.fullmatch(r"serial[0-3]", name):
        return [] if re.fullmatch(r"/dev/[^,]+|socket", value) else [f"{name}: {value}"]
    for pattern, format_, default in _FORMATS:
        if re.fullmatch(pattern, name):
            return [f"{name}: {each}" for each in _parts(value, format_, default)]
    check = _PLAIN.get(name)
    return [] if check is not None and check(value) else [f"{name}: {value}"]


def _parts(value: str, format_: Mapping[str, Check], default: str) -> list[str]:
    """What is wrong in a list of properties; the first may stand without its name."""
    wrong = []
    for at, part in enumerate(value.split(",")):
        key, equals, text = part.partition("=")
        if not equals and at == 0:
            key, text = default, part
        if key not in format_ or not format_[key](text):
            wrong.append(part)
    return wrong
