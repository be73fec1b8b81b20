"""libvirt's own reader of xl configurations (xenParseXL) as judge: what each key means to it, as domain XML.

It is reached through libvirt's private symbols, so that library and driver have to be of one version: both are
unpacked, not installed, and need no Xen. It takes keys that it does not know.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.debs import unpacked

_PACKAGES = (
    "libvirt0", "libvirt-daemon-driver-xen", "libxenmisc4.17", "libxentoollog1", "libxencall1", "libxendevicemodel1",
    "libxenevtchn1", "libxenforeignmemory1", "libxengnttab1", "libxenhypfs1", "libxenstore4", "libxentoolcore1",
    "libyajl2",
)  # fmt: skip

_READ = """\
import ctypes, sys
libvirt = ctypes.CDLL("libvirt.so.0", mode=ctypes.RTLD_GLOBAL)
driver = ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_GLOBAL)

def function(library, name, *arguments, result=ctypes.c_void_p):
    found = getattr(library, name)
    found.restype, found.argtypes = result, arguments
    return found

pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
libvirt.virInitialize()
arch = function(libvirt, "virArchFromString", text, result=number)(b"x86_64")
kind = function(libvirt, "virDomainOSTypeFromString", text, result=number)
virt = function(libvirt, "virDomainVirtTypeFromString", text, result=number)(b"xen")
caps = function(libvirt, "virCapabilitiesNew", number, ctypes.c_bool, ctypes.c_bool)(arch, False, False)
guest = function(libvirt, "virCapabilitiesAddGuest", pointer, number, number, text, text, number, pointer)
domain = function(libvirt, "virCapabilitiesAddGuestDomain", pointer, number, text, text, number, pointer)
for name in (b"hvm", b"xen", b"xenpvh"):
    domain(guest(caps, kind(name), arch, None, None, 0, None), virt, None, None, 0, None)
option = function(libvirt, "virDomainXMLOptionNew", *[pointer] * 6)(*[None] * 6)
conf = function(libvirt, "virConfReadString", text, ctypes.c_uint)(open(sys.argv[2], "rb").read(), 0)
made = conf and function(driver, "xenParseXL", pointer, pointer, pointer)(conf, caps, option)
if not made:
    message = function(libvirt, "virGetLastErrorMessage", result=text)()
    sys.exit((message or b"refused").decode())
shown = function(libvirt, "virDomainDefFormat", pointer, pointer, ctypes.c_uint, result=text)(made, option, 0)
sys.stdout.write(shown.decode())
"""


def parse_xl(file: Path) -> tuple[str, str]:
    """What libvirt has against an xl configuration (nothing when it takes it), and the domain that it reads."""
    folder = unpacked("12", _PACKAGES)
    driver = next(folder.rglob("libvirt_driver_libxl.so"))
    libraries = next(folder.rglob("libxlutil.so.4.17")).parent
    done = subprocess.run(
        [sys.executable, "-c", _READ, str(driver), str(file)],
        capture_output=True, text=True, check=False, env={**os.environ, "LD_LIBRARY_PATH": str(libraries)},
    )  # fmt: skip
    if done.returncode:
        return done.stderr.strip() or f"status {done.returncode}", ""
    return "", done.stdout
