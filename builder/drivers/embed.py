"""The folder that libvirt's embedded driver lives in: made ready before opening, searched for what outlived a crash."""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from builder.errors import HostLacks, LabError
from builder.paths import private_dir, write_atomic

MAX_ROOT = 40
"""Bytes. libvirt puts UNIX sockets deep under the root, and the kernel caps their names at 107."""

_QEMU_CONF = """\
# Written by nestlab for one lab; see builder/drivers/embed.py.
stdio_handler = "file"
user = "+{uid}"
group = "+{gid}"
dynamic_ownership = 0
remember_owner = 0
namespaces = []
cgroup_controllers = []
security_driver = "none"
"""
# stdio_handler: the default waits 52 s for a log daemon that is not there. user, group, dynamic_ownership,
# remember_owner: files stay the caller's. namespaces, cgroup_controllers, security_driver: all need rights or mounts
# that a container may lack, and protect nothing in a lab that runs as its caller.


def prepare_root(root: Path, shared_cache: Path | None = None) -> None:
    """Make `root` fit for `qemu:///embed?root=...`: private, short, configured, its cache of QEMU's capabilities
    seeded from `shared_cache` (0.4 s instead of 4 s for the first start). Raises HostLacks for a path too long."""
    if len(os.fsencode(root)) > MAX_ROOT:
        raise HostLacks(
            f"{root} is longer than {MAX_ROOT} bytes, so libvirt's sockets in it would have names too long to bind",
            hint="set NESTLAB_RUNTIME to a short path, such as /tmp/nl",
        )
    private_dir(root)
    (root / "etc").mkdir(mode=0o700, exist_ok=True)
    write_atomic(root / "etc/qemu.conf", _QEMU_CONF.format(uid=os.geteuid(), gid=os.getegid()))
    if shared_cache is not None and not (root / "cache").exists():
        seed = shared_cache / _capabilities_key()
        if seed.is_dir():
            shutil.copytree(seed, root / "cache")


def share_capabilities(root: Path, shared_cache: Path) -> bool:
    """Publish what libvirt learned about QEMU for the next lab; whether there was something new to publish.

    Call after the first domain started. libvirt checks each entry against the QEMU and the processor it finds, so an
    old one is learned anew, never believed; it is replaced, or every lab would learn it anew.
    """
    learned, target = root / "cache", shared_cache / _capabilities_key()
    found = _entries(learned)
    if not found or found == _entries(target):
        return False
    shared_cache.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=shared_cache, prefix=".new-"))
    try:
        shutil.copytree(learned, staging / "cache")
        if target.is_dir():
            for place in found:  # file by file: another lab may just be reading the folder
                (staging / "cache" / place).replace(target / place)
        else:
            (staging / "cache").rename(target)
    except OSError as error:
        if target.is_dir():
            return False  # another lab was first
        raise LabError(f"cannot keep QEMU's capabilities in {shared_cache}: {error}") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return True


def _entries(cache: Path) -> dict[str, bytes]:
    """What is known of each QEMU, by the file's place."""
    return {str(path.relative_to(cache)): path.read_bytes() for path in cache.rglob("*.xml")}


def _capabilities_key() -> str:
    import libvirt  # noqa: PLC0415 - only labs need it; it is an optional dependency

    emulator = shutil.which("qemu-system-x86_64")
    info = Path(emulator).resolve().stat() if emulator else None
    parts = (
        libvirt.getVersion(),
        (info.st_size, info.st_ctime_ns) if info else None,
        os.uname().release,
        os.access("/dev/kvm", os.R_OK | os.W_OK),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@contextlib.contextmanager
def on_one_cpu() -> Iterator[None]:
    """Run on the first CPU that this thread may use, to open the driver: it takes the CPU's identity then, and on some
    hosts that differs from core to core, so that what was learned of QEMU looked outdated every other time (measured:
    'host cpuid changed'). Threads that are started meanwhile may run anywhere again afterwards."""
    allowed = os.sched_getaffinity(0)
    before = set(os.listdir("/proc/self/task"))  # noqa: PTH208 - names only
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
        for thread in set(os.listdir("/proc/self/task")) - before:  # noqa: PTH208
            with contextlib.suppress(OSError):  # it ended meanwhile
                os.sched_setaffinity(int(thread), allowed)


def leftovers(root: Path, *, grace: float = 3, timeout: float = 15) -> tuple[int, ...]:
    """End every QEMU that runs in `root` and return their pids. For `down` after a keeper was killed.

    A QEMU is known by its command line, which names sockets under the root: that finds also one that died too early
    to have a pid file, or is only being asked for its capabilities. libvirt is not opened for it: its records
    go away with the root, and a second opening would race with its own reconnecting.
    The keeper must be gone. Raises LabError when one does not die in `timeout` seconds.
    """
    ended: list[int] = []
    deadline = time.monotonic() + timeout
    quiet = 0
    while quiet < 2:  # twice, for one that was between fork and exec
        found = list(processes_naming(root, program=b"qemu"))
        quiet = 0 if found else quiet + 1
        for pid, fd in found:
            try:
                _end(pid, fd, grace=grace, deadline=deadline)
            finally:
                os.close(fd)
            ended.append(pid)
        if quiet == 1:
            time.sleep(0.05)
    return tuple(ended)


def processes_naming(folder: Path, *, program: bytes) -> Iterator[tuple[int, int]]:
    """Pid and pidfd of every process whose program's name begins so and whose arguments name something in `folder`.

    The pidfd is opened first, so what is then read belongs to the process that it will signal. The caller closes it.
    """
    mark = os.fsencode(folder) + b"/"
    for entry in os.listdir("/proc"):  # noqa: PTH208 - names only, thousands of them
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            fd = os.pidfd_open(int(entry))
        except OSError:
            continue
        try:
            argv = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
        except OSError:
            argv = [b""]
        if os.path.basename(argv[0]).startswith(program) and any(mark in word for word in argv[1:]):  # noqa: PTH119
            yield int(entry), fd
        else:
            os.close(fd)


def _end(pid: int, fd: int, *, grace: float, deadline: float) -> None:
    for signum, wait in ((signal.SIGTERM, grace), (signal.SIGKILL, max(1.0, deadline - time.monotonic()))):
        try:
            signal.pidfd_send_signal(fd, signum)
        except ProcessLookupError:
            return
        except PermissionError:
            raise LabError(f"QEMU process {pid} belongs to another user", hint="run down as the user of up") from None
        if select.select([fd], [], [], wait)[0]:
            return
    raise LabError(f"QEMU process {pid} does not die", hint=f"look at it: cat /proc/{pid}/stack")
