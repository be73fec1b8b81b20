"""Questions that many procedures ask a host, and readers of what its tools answer."""

from __future__ import annotations

import re
from collections.abc import Sequence

from builder.errors import LabError
from builder.model.host import Host
from builder.render.arguments import KernelArguments


def ask(host: Host, *argv: str, timeout: float = 60) -> str:
    """What a command prints. Raises LabError when it fails."""
    result = host.run(argv, timeout=timeout)
    if not result.ok:
        said = (result.stderr or result.stdout).strip().splitlines()
        raise LabError(
            f"{host.name}: {' '.join(argv)} ended with status {result.returncode}: {said[-1] if said else 'no reason'}",
            hint="is this host's toolstack up? try the command by hand",
        )
    return result.stdout


def read_text(host: Host, path: str) -> str | None:
    """A file's text, None when it is not there. Raises LabError when it is there and cannot be read."""
    if not host.run(["test", "-e", path]).ok:
        return None
    return host.read(path).decode(errors="replace")


def mode_of(host: Host, path: str) -> int:
    """A file's permissions; what a new file has where there is none."""
    said = host.run(["stat", "-L", "-c", "%a", "--", path])
    return int(said.stdout, 8) if said.ok else 0o644


def fields(text: str) -> dict[str, str]:
    """`name : value` lines, as `xl info` and many others print them."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}


def xen_arguments(host: Host) -> KernelArguments:
    """What the running hypervisor was started with. The first word is GRUB's placeholder for its own name."""
    return KernelArguments(tuple(fields(ask(host, "xl", "info")).get("xen_commandline", "").split()))


def kernel_arguments(host: Host) -> KernelArguments:
    """What the running dom0 kernel was started with."""
    return KernelArguments(tuple(host.read("/proc/cmdline").decode(errors="replace").split()))


def running_guests(host: Host, dialect: str) -> tuple[str, ...]:
    """Names of the guests that run here, dom0 left out. With XAPI those resident on this host, by their name."""
    if dialect == "xe":
        listed = ask(
            host, "xe", "vm-list", f"resident-on={xe_host(host)}", "is-control-domain=false", "params=name-label",
            "--minimal",
        )  # fmt: skip
        return tuple(filter(None, listed.strip().split(",")))
    return tuple(name for name, *_ in domains(host) if name != "Domain-0")


def domains(host: Host) -> list[tuple[str, int, int]]:
    """(name, domain id, MiB now) of every running domain, by `xl list`. A name may hold spaces. One that has shut down
    or is being taken apart (state s or d) runs no more, and is listed for a while."""
    rows = [line.rsplit(maxsplit=5) for line in ask(host, "xl", "list").splitlines()[1:]]
    whole = [row for row in rows if len(row) == 6 and row[0].strip() != "(null)" and not set(row[4]) & {"s", "d"}]
    return [(row[0].strip(), int(row[1]), int(row[2])) for row in whole]


def families(host: Host) -> list[str]:
    """What kind of Linux the host says it is, and is like: `debian`, `suse`."""
    return ask(host, "sh", "-c", '. /etc/os-release 2>/dev/null; echo "${ID:-} ${ID_LIKE:-}"').split()


def xe_host(host: Host) -> str:
    """The uuid of the host that answers, by XAPI's inventory file."""
    found = inventory(host, "INSTALLATION_UUID", r"([0-9a-f-]{36})'")
    if found is None:
        raise LabError(f"{host.name}: /etc/xensource-inventory names no INSTALLATION_UUID", hint="is this XCP-ng?")
    return found[1]


def inventory(host: Host, name: str, pattern: str) -> re.Match[str] | None:
    """What XAPI's inventory file says under a name, matched from behind its opening quote."""
    text = host.read("/etc/xensource-inventory").decode(errors="replace")
    return re.search(rf"^{name}='{pattern}", text, re.MULTILINE)


def meminfo(host: Host) -> dict[str, int]:
    """/proc/meminfo in bytes."""
    found = re.findall(r"^(\w+): +(\d+) kB", host.read("/proc/meminfo").decode(errors="replace"), re.MULTILINE)
    return {name: int(size) * 1024 for name, size in found}


def listed(items: Sequence[str]) -> str:
    """Names in a sentence."""
    return ", ".join(items) or "none"
