"""Debian's packages that the stand-in is made of, and programs picked from them with the libraries they need."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from builder.images.kmods import Modules
from tests.support.debs import kernel_package, unpacked

RELEASE = "13"
XEN = "4.20"
_PYTHON = "3.13"
_PACKAGES = (
    "bash", "busybox-static", "dosfstools", "dropbear-bin", "e2fsprogs", "fdisk", "mdadm", "openssl", "util-linux",
    f"libpython{_PYTHON}-minimal", f"libpython{_PYTHON}-stdlib", f"python{_PYTHON}-minimal",
    f"xen-hypervisor-{XEN}-amd64",
    # libraries of these
    "libblkid1", "libc6", "libcom-err2", "libcrypt1", "libexpat1", "libext2fs2t64", "libfdisk1", "libgmp10",
    "libmount1", "libpcre2-8-0", "libreadline8t64", "libselinux1", "libsmartcols1", "libss2", "libssl3t64", "libtinfo6",
    "libtomcrypt1", "libtommath1", "libudev1", "libuuid1", "libzstd1", "zlib1g", "libcap2",
)  # fmt: skip
LIBRARIES = "usr/lib/x86_64-linux-gnu"


class Tree:
    """The packages, unpacked. `kernel` is the kernel's version."""

    def __init__(self) -> None:
        package = kernel_package(RELEASE)
        self.kernel = package.removeprefix("linux-image-")
        self.folder = unpacked(RELEASE, (*_PACKAGES, package))
        self.loader = self.folder / LIBRARIES / "ld-linux-x86-64.so.2"

    @property
    def modules(self) -> Modules:
        return Modules(self.folder / "usr/lib/modules" / self.kernel)

    def program(self, name: str) -> Path:
        for place in ("usr/bin", "usr/sbin", "sbin", "bin"):
            if (self.folder / place / name).is_file():
                return self.folder / place / name
        raise FileNotFoundError(f"no package has the program {name}")

    def libraries(self, programs: Iterable[Path]) -> dict[str, bytes]:
        """Contents of all shared libraries of the programs, and of the loader, by their paths in a root."""
        found = {"lib64/ld-linux-x86-64.so.2": self.loader.read_bytes()}
        for program in programs:
            argv = [str(self.loader), "--library-path", str(self.folder / LIBRARIES), "--list", str(program)]
            said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
            for name, path in re.findall(r"^\s*(\S+) => (/\S+)", said, re.MULTILINE):
                assert Path(path).is_relative_to(self.folder), f"no package has {name}, which {program.name} needs"
                found[f"lib/x86_64-linux-gnu/{name}"] = Path(path).read_bytes()
        return dict(sorted(found.items()))

    def python(self, *argv: str | Path) -> None:
        """Run the unpacked Python on this machine."""
        home = {"PYTHONHOME": str(self.folder / "usr"), "PYTHONDONTWRITEBYTECODE": "1"}
        program = [
            self.loader,
            "--library-path",
            self.folder / LIBRARIES,
            self.program(f"python{_PYTHON}"),
            "-S",
            *argv,
        ]
        subprocess.run([str(word) for word in program], env=home, check=True, capture_output=True, text=True)

    @property
    def python_program(self) -> Path:
        return self.program(f"python{_PYTHON}")

    @property
    def python_archive(self) -> str:
        """Where Python looks for its modules first, in a root."""
        return f"usr/lib/python{_PYTHON.replace('.', '')}.zip"
