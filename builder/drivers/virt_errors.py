"""libvirt's errors, told so that the reader can do something about them."""

from __future__ import annotations

import re
from typing import Any

from builder.errors import HostLacks, LabError

# (what libvirt says, what to do), first match wins. Host: the machine lacks something, exit 3.
_HINTS: tuple[tuple[str, str, bool], ...] = (
    (r"Failed to parse user 'libvirt-qemu'", "apt-get install libvirt-daemon-system (root needs its user)", True),
    (r"no connection driver available|Failed to find module|cannot open shared object",
     "apt-get install libvirt-daemon-driver-qemu (or libvirt-daemon)", True),
    (r"Failed to connect socket to '.*/libvirt/(libvirt|virtqemud)-sock",
     "start the daemon (virtlogd -d && libvirtd -d as root), or leave --connect out to run without one", True),
    (r"virtlogd-sock", "start virtlogd, or set stdio_handler = \"file\" in qemu.conf", True),
    (r"Failed to acquire pid file",
     "another process has this lab's libvirt open: nestlab ls shows it, nestlab down LAB ends it", False),
    (r"already open with path", "this process has another lab open: one root for each process", False),
    (r"Failed to get \"write\" lock|Failed to get shared \"write\" lock",
     "the disk is in use by another QEMU: nestlab ls, then nestlab down LAB", False),
    (r"Cannot access (storage|backing) file|Permission denied",
     "QEMU's user cannot read it: every folder above it needs o+x, or run without --connect", False),
    (r"Cannot allocate memory|cannot set up guest memory",
     "not enough free memory on this host: smaller nodes in the lab file, or take down another lab", True),
    (r"does not support machine type|unsupported machine type",
     "this QEMU lacks the machine that the state was saved with: boot anew", False),
    (r"the accel 'kvm' is not supported|KVM is not available|Could not access KVM|failed to set MSR",
     "KVM does not work here: nestlab doctor shows why", True),
    (r"Emulator .* not found|Cannot find .*qemu|no emulator for domain|could not find capabilities|"
     r"unable to find any emulator",
     "apt-get install qemu-system-x86", True),
    (r"Unable to find .*(firmware|OVMF)|Failed to open file '.*OVMF|Unable to open .*OVMF",
     "apt-get install ovmf", True),
    (r"already (exists|active)", "it is left from an earlier run: nestlab reap", False),
    (r"Could not set up host forwarding rule|Address already in use|Failed to bind",
     "the port is taken by another program; try again", False),
)  # fmt: skip


# libvirt's words while QEMU's process ends but is not yet gone
_CLOSED = re.compile(r"End of file from qemu monitor|Unable to (read from|write to) monitor")


class DomainError(LabError):
    """libvirt or QEMU refused something about a domain."""


class DomainGone(DomainError):
    """The domain ended, or is just ending."""


def import_libvirt() -> Any:
    """The binding. Raises HostLacks with the line that installs it."""
    try:
        import libvirt  # noqa: PLC0415 - optional: only running a lab needs it
    except ImportError as error:
        raise HostLacks(
            f"the Python binding of libvirt is not usable: {error}",
            hint="apt-get install gcc pkg-config python3-dev libvirt-dev && pip install 'nestlab[libvirt]'",
        ) from None
    return libvirt


def is_gone(error: Exception) -> bool:
    """Whether the error only says that the domain is not there any more."""
    libvirt = import_libvirt()
    code = error.get_error_code() if isinstance(error, libvirt.libvirtError) else None
    if code == libvirt.VIR_ERR_NO_DOMAIN:
        return True
    return code == libvirt.VIR_ERR_OPERATION_INVALID and "not running" in str(error)


def explain(error: Exception, failure: str, *, node: str | None = None) -> LabError:
    """A DomainError (HostLacks where the host is to blame) with the cure that the facts know."""
    text = re.sub(r"\s+", " ", str(error)).strip()
    message = f"{node}: {failure}: {text}" if node else f"{failure}: {text}"
    for pattern, hint, host in _HINTS:
        if re.search(pattern, text, re.IGNORECASE):
            return HostLacks(message, hint=hint) if host else DomainError(message, hint=hint)
    return DomainGone(message) if is_gone(error) or _CLOSED.search(text) else DomainError(message)
