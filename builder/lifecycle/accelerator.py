"""Which accelerator labs run on, decided by proof: KVM is used only after a probe guest booted a 64-bit kernel to user
space on it and found vmx or svm there.

`/dev/kvm` existing, libvirt listing kvm, QEMU starting, even a BIOS banner prove nothing: on a host whose KVM is
broken or emulated all of these succeed and the kernel then hangs.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import platform
import re
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from builder.errors import LabError, TimedOut
from builder.images.cpio import Archive
from builder.model.lab import Value
from builder.model.runtime import Accelerator
from builder.paths import Places, locked, write_atomic
from builder.run import need, run, stream

VERSION = 1
PROBE_SECONDS = 30
MEMORY = 256
"""MiB of the probe guest."""
ARGUMENTS = "console=ttyS0 panic=-1 loglevel=4"
_MARK = "nestlab-probe:"
_KVM_GET_API_VERSION = 0xAE00
_INIT = f"""#!/bin/busybox sh
/bin/busybox mkdir -p /proc
/bin/busybox mount -t proc proc /proc
flags=$(/bin/busybox grep -o -w -m1 -E 'vmx|svm' /proc/cpuinfo | /bin/busybox head -n1)
echo "{_MARK} $(/bin/busybox uname -m) ${{flags:-none}}"
/bin/busybox poweroff -f
"""


class AcceleratorVerdict(Value):
    """`proven` is false when no probe was made (then TCG is what is used). `fix` is a command, or empty."""

    accelerator: Accelerator
    proven: bool
    reason: str
    fix: str = ""


def verdict(
    places: Places,
    *,
    probe: bool = True,
    kernels: Sequence[Path] = (),
    kvm: Path = Path("/dev/kvm"),
    stop: threading.Event | None = None,
) -> AcceleratorVerdict:
    """The accelerator for this host, from the cache when this boot of the host has been probed with this QEMU.

    `kernels` are probe kernels to try before the host's own in /boot: any bootable x86-64 Linux with a serial console.
    """
    refused = _not_usable(kvm)
    if refused is not None:
        return refused
    probing = (lambda: _probe(kernels, stop)) if probe else None
    return remembered(places.cache / "accelerator.json", _host_key(), probing)


def remembered(cache: Path, key: str, probe: Callable[[], AcceleratorVerdict] | None) -> AcceleratorVerdict:
    """What was proven under that key, else what `probe` finds, if it may be made."""
    with contextlib.suppress(OSError, ValueError):
        known = _Cached.model_validate_json(cache.read_bytes())
        if known.v == VERSION and known.key == key:
            return known.verdict
    if probe is None:
        return AcceleratorVerdict(accelerator="tcg", proven=False, reason="KVM was not probed yet")
    with locked(cache.with_suffix(".lock")):
        found = probe()
        if found.proven:
            write_atomic(cache, _Cached(v=VERSION, key=key, verdict=found).model_dump_json() + "\n")
    return found


class _Cached(Value):
    v: int
    key: str
    verdict: AcceleratorVerdict


def _not_usable(kvm: Path) -> AcceleratorVerdict | None:
    if platform.machine() not in ("x86_64", "AMD64"):
        return AcceleratorVerdict(
            accelerator="tcg", proven=True, reason=f"this host is {platform.machine()}, not x86_64"
        )
    try:
        fd = os.open(kvm, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return AcceleratorVerdict(
            accelerator="tcg", proven=True, reason=f"{kvm} does not exist",
            fix="modprobe kvm_intel || modprobe kvm_amd   # in a container: --device /dev/kvm",
        )  # fmt: skip
    except PermissionError:
        return AcceleratorVerdict(
            accelerator="tcg", proven=True, reason=f"{kvm} may not be opened by this user",
            fix='sudo usermod -aG kvm "$USER"   # then log in again',
        )  # fmt: skip
    except OSError as error:
        return AcceleratorVerdict(accelerator="tcg", proven=True, reason=f"{kvm} does not open: {error.strerror}")
    try:
        fcntl.ioctl(fd, _KVM_GET_API_VERSION)
    except OSError:
        return AcceleratorVerdict(accelerator="tcg", proven=True, reason=f"{kvm} is not a KVM device")
    finally:
        os.close(fd)
    return None


def _host_key() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    qemu = run([need("qemu-system-x86_64", why="run guests", package="qemu-system-x86"), "--version"], timeout=20)
    nested = "".join(
        path.read_text().strip()
        for path in sorted(Path("/sys/module").glob("kvm_*/parameters/nested"))
        if os.access(path, os.R_OK)
    )
    return f"{boot} {qemu.stdout.splitlines()[0]} nested={nested}"


def _probe(kernels: Sequence[Path], stop: threading.Event | None) -> AcceleratorVerdict:
    with tempfile.TemporaryDirectory(prefix="nestlab-probe-") as scratch:
        made = guest(kernels, Path(scratch) / "initrd")
        if isinstance(made, AcceleratorVerdict):
            return made
        kernel, initrd = made
        lines: list[str] = []
        qemu = need("qemu-system-x86_64", why="run guests", package="qemu-system-x86")
        argv = [
            qemu, "-accel", "kvm", "-cpu", "host", "-machine", "pc", "-m", str(MEMORY), "-nodefaults", "-no-reboot",
            "-display", "none", "-serial", "stdio", "-kernel", str(kernel), "-initrd", str(initrd),
            "-append", ARGUMENTS,
        ]  # fmt: skip
        try:
            status = stream(argv, on_line=lines.append, timeout=PROBE_SECONDS, stop=stop)
        except TimedOut:
            return broken(f"the probe guest did not reach user space in {PROBE_SECONDS} s", lines)
        except LabError as error:
            return AcceleratorVerdict(accelerator="tcg", proven=False, reason=error.message, fix=error.hint or "")
    if stop is not None and stop.is_set():
        return AcceleratorVerdict(accelerator="tcg", proven=False, reason="the probe was interrupted")
    return judged(lines) or broken(f"the probe guest ended with status {status} before user space", lines)


def guest(kernels: Sequence[Path], initrd: Path) -> tuple[Path, Path] | AcceleratorVerdict:
    """The probe guest's kernel and its initrd, written to that path; or that there is none of the one or the other."""
    kernel = next((k for k in (*kernels, *_boot_kernels()) if os.access(k, os.R_OK)), None)
    busybox = next((b for b in (Path("/bin/busybox"), Path("/usr/bin/busybox")) if os.access(b, os.R_OK)), None)
    if kernel is None or busybox is None:
        lack = "a readable kernel" if kernel is None else "busybox"
        return AcceleratorVerdict(
            accelerator="tcg", proven=False, reason=f"KVM could not be probed: {lack} is missing",
            fix="nestlab image build labs/tiny.yaml" if kernel is None else "apt-get install busybox-static",
        )  # fmt: skip
    initrd.write_bytes(_initrd(busybox))
    return kernel, initrd


def judged(lines: Sequence[str]) -> AcceleratorVerdict | None:
    """What the probe guest said; None when it came not so far."""
    said = next((line.partition(_MARK)[2].split() for line in lines if _MARK in line), None)
    if not said:
        return None
    if said[-1] not in ("vmx", "svm"):
        return AcceleratorVerdict(
            accelerator="tcg", proven=True, reason="KVM works, but guests do not see vmx or svm: nesting is off",
            fix="modprobe -r kvm_intel && modprobe kvm_intel nested=1   # or kvm_amd; with no VM running",
        )  # fmt: skip
    return AcceleratorVerdict(accelerator="kvm", proven=True, reason=f"a probe guest ran on KVM and saw {said[-1]}")


def broken(what: str, lines: Sequence[str]) -> AcceleratorVerdict:
    """KVM that is offered and fails its proof, with the last word of the guest."""
    said = [line.strip() for line in lines if line.strip() and not line.startswith("qemu-system")]
    # QEMU follows its reason with a dump of registers; a kernel that hangs said its last word last.
    last = next((line for line in said if re.search(r"\berror\b", line, re.IGNORECASE)), said[-1] if said else "")
    return AcceleratorVerdict(
        accelerator="tcg",
        proven=True,
        reason=f"KVM is offered but does not work: {what}" + (f" (last: {last[:160]})" if last else ""),
    )


def _boot_kernels() -> list[Path]:
    return sorted(Path("/boot").glob("vmlinuz-*"), reverse=True)


def _initrd(busybox: Path) -> bytes:
    out = io.BytesIO()
    archive = Archive(out)
    archive.file("/bin/busybox", busybox.read_bytes(), 0o755)
    archive.file("/init", _INIT.encode(), 0o755)
    archive.close()
    return out.getvalue()
