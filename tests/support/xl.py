"""Xen's own configuration parser (libxlutil) as judge of xl.conf and guest configurations. It takes unknown keys and
any value; what it does look into, disks and PCI devices, is asked of it one by one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.debs import unpacked

# libxlutil and what it needs: none of it has to be installed.
_LIBRARIES = (
    "libxenmisc4.17", "libxentoollog1", "libxencall1", "libxendevicemodel1", "libxenevtchn1", "libxenforeignmemory1",
    "libxengnttab1", "libxenhypfs1", "libxenstore4", "libxentoolcore1", "libyajl2",
)  # fmt: skip

# In a process of its own: the library writes to a C stream and may be of a version whose loading goes wrong. A disk is
# libxl_device_disk of 4.17 (domid, name of its domain, path, name, backend, format, script, removable, writable).
_READ = """\
import ctypes, json, sys
C, P = ctypes, ctypes.c_char_p
log = C.CDLL(sys.argv[1], mode=C.RTLD_GLOBAL)
lib = C.CDLL(sys.argv[2])
libc = C.CDLL(None)
libc.fdopen.restype = C.c_void_p
lib.xlu_cfg_init.restype = C.c_void_p
lib.xlu_cfg_init.argtypes = [C.c_void_p, P]
lib.xlu_cfg_readfile.argtypes = [C.c_void_p, P]
lib.xlu_cfg_get_string.argtypes = [C.c_void_p, P, C.POINTER(P), C.c_int]
lib.xlu_cfg_get_long.argtypes = [C.c_void_p, P, C.POINTER(C.c_long), C.c_int]
lib.xlu_cfg_get_list.argtypes = [C.c_void_p, P, C.POINTER(C.c_void_p), C.POINTER(C.c_int), C.c_int]
lib.xlu_cfg_get_listitem.argtypes = [C.c_void_p, C.c_int]
lib.xlu_cfg_get_listitem.restype = P
lib.xlu_disk_parse.argtypes = [C.c_void_p, C.c_int, C.POINTER(P), C.c_void_p]
lib.xlu_pci_parse_spec_string.argtypes = [C.c_void_p, C.c_void_p, P]

class Disk(C.Structure):
    _fields_ = [("domid", C.c_uint32), ("domain", P), ("path", P), ("name", P), ("backend", C.c_int),
                ("format", C.c_int), ("script", P), ("removable", C.c_int), ("writable", C.c_int),
                ("rest", C.c_char * 1024)]

config = lib.xlu_cfg_init(libc.fdopen(2, b"w"), sys.argv[3].encode())
status = lib.xlu_cfg_readfile(config, sys.argv[3].encode())
found = {"strings": {}, "numbers": {}, "lists": {}, "disks": []}
for key in sys.argv[4:] if status == 0 else ():
    text, number, items, count = P(), C.c_long(), C.c_void_p(), C.c_int()
    if lib.xlu_cfg_get_list(config, key.encode(), C.byref(items), C.byref(count), 1) == 0:
        found["lists"][key] = [lib.xlu_cfg_get_listitem(items, at).decode() for at in range(count.value)]
    elif key in ("vcpus", "memory", "maxmem", "vnc"):
        if lib.xlu_cfg_get_long(config, key.encode(), C.byref(number), 1) == 0:
            found["numbers"][key] = number.value
    elif lib.xlu_cfg_get_string(config, key.encode(), C.byref(text), 1) == 0:
        found["strings"][key] = text.value.decode()
formats = {2: "qcow2", 4: "raw"}
for spec in found["lists"].get("disk", ()):
    disk = Disk()
    status = status or lib.xlu_disk_parse(config, 1, (P * 1)(spec.encode()), C.byref(disk))
    if status == 0:
        found["disks"].append([disk.path.decode(), disk.name.decode(), formats.get(disk.format), bool(disk.writable)])
for spec in found["lists"].get("pci", ()):
    status = status or lib.xlu_pci_parse_spec_string(config, C.create_string_buffer(1024), spec.encode())
libc.fflush(None)
print(json.dumps(found))
sys.exit(status)
"""
_KEYS = (
    "name", "type", "tsc_mode", "vcpus", "memory", "maxmem", "bootloader", "kernel", "ramdisk", "extra", "disk", "vif",
    "pci", "boot", "serial", "vnc", "device_model_args_hvm", "on_poweroff", "on_reboot", "on_crash",
)  # fmt: skip


@dataclass(frozen=True)
class XlDomain:
    """What libxlutil reads of a guest's configuration. A disk is path, name in the guest, format, and whether the guest
    may write to it."""

    complaint: str
    strings: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)
    disks: list[list[Any]] = field(default_factory=list)


def read_domain(file: Path) -> XlDomain:
    """A guest's configuration, with its disks and devices taken apart."""
    complaint, found = _read(file, _KEYS)
    return XlDomain(complaint, **found)


def read_xl(file: Path, *keys: str) -> tuple[str, dict[str, str]]:
    """What libxlutil has against a file (nothing when it is well-formed), and the strings it reads for these keys."""
    complaint, found = _read(file, keys)
    return complaint, found.get("strings", {})


def _read(file: Path, keys: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    folder = next(unpacked("12", _LIBRARIES).rglob("libxlutil.so.4.17")).parent
    paths = [str(folder / name) for name in ("libxentoollog.so.1", "libxlutil.so.4.17")]
    done = subprocess.run(
        [sys.executable, "-c", _READ, *paths, str(file), *keys],
        capture_output=True, text=True, check=False, env={**os.environ, "LD_LIBRARY_PATH": str(folder)},
    )  # fmt: skip
    complaint = (done.stderr or f"status {done.returncode}") if done.returncode else ""
    return complaint, json.loads(done.stdout) if done.stdout else {}
