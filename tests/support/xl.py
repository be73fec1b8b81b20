"""Xen's own configuration parser (libxlutil) as judge of xl.conf and guest configurations. Syntax only: it takes
unknown keys and any value."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.debs import unpacked

# libxlutil and what it needs: none of it has to be installed.
_LIBRARIES = (
    "libxenmisc4.17", "libxentoollog1", "libxencall1", "libxendevicemodel1", "libxenevtchn1", "libxenforeignmemory1",
    "libxengnttab1", "libxenhypfs1", "libxenstore4", "libxentoolcore1", "libyajl2",
)  # fmt: skip

# In a process of its own: the library writes to a C stream and may be of a version whose loading goes wrong.
_READ = """\
import ctypes, sys
log = ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_GLOBAL)
lib = ctypes.CDLL(sys.argv[2])
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
lib.xlu_cfg_init.restype = ctypes.c_void_p
lib.xlu_cfg_init.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
lib.xlu_cfg_readfile.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
lib.xlu_cfg_get_string.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(ctypes.c_char_p), ctypes.c_int]
config = lib.xlu_cfg_init(libc.fdopen(2, b"w"), sys.argv[3].encode())
status = lib.xlu_cfg_readfile(config, sys.argv[3].encode())
if status == 0:
    for key in sys.argv[4:]:
        value = ctypes.c_char_p()
        if lib.xlu_cfg_get_string(config, key.encode(), ctypes.byref(value), 1) == 0:
            print(key + "=" + value.value.decode())
libc.fflush(None)
sys.exit(status)
"""


def read_xl(file: Path, *keys: str) -> tuple[str, dict[str, str]]:
    """What libxlutil has against a file (nothing when it is well-formed), and the strings it reads for these keys."""
    folder = next(unpacked("12", _LIBRARIES).rglob("libxlutil.so.4.17")).parent
    paths = [str(folder / name) for name in ("libxentoollog.so.1", "libxlutil.so.4.17")]
    done = subprocess.run(
        [sys.executable, "-c", _READ, *paths, str(file), *keys],
        capture_output=True, text=True, check=False, env={**os.environ, "LD_LIBRARY_PATH": str(folder)},
    )  # fmt: skip
    values = dict(line.split("=", 1) for line in done.stdout.splitlines())
    return (done.stderr or f"status {done.returncode}") if done.returncode else "", values
