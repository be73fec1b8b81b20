"""A node driven over ssh: the Host that checks and procedures see."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from builder.drivers.ssh import close_master, ssh_argv, wait_banner
from builder.errors import LabError, TimedOut
from builder.model.host import HostFacts, HostResult
from builder.model.runtime import SshTarget
from builder.run import die_with_parent, end_group
from builder.secrets import Secret, redact

UNREACHABLE = 255
"""The ssh client's own status for 'could not'. A command that ends with 255 cannot be told from it."""

_FACTS = r"""
if command -v xe >/dev/null 2>&1 && [ -e /etc/xensource-inventory ]; then echo dialect=xe
elif [ "$(cat /sys/hypervisor/type 2>/dev/null)" = xen ] && [ -e /proc/xen/privcmd -o -e /dev/xen/privcmd ]; then
  echo dialect=xl
elif command -v xl >/dev/null 2>&1 && [ -e /kern/xen/privcmd ]; then echo dialect=xl
else echo dialect=none; fi
if [ -r /etc/os-release ]; then . /etc/os-release; echo "release=$ID $VERSION_ID"; echo "version.os=$PRETTY_NAME"
else echo "release=$(uname -s) $(uname -r)"; fi
echo "version.kernel=$(uname -r)"
if [ -d /sys/hypervisor/version ]; then
  echo "version.xen=$(cat /sys/hypervisor/version/major).$(cat /sys/hypervisor/version/minor)$(
    cat /sys/hypervisor/version/extra)"
fi
"""

_WRITE = """
umask 077; f=$1
if [ -L "$f" ]; then f=$(readlink -f -- "$f") && [ "$f" ] || { echo 'its link leads nowhere' >&2; exit 1; }; fi
t="$f.nestlab-new"
cat >"$t" && chmod "$2" "$t" && mv -f "$t" "$f" || { s=$?; rm -f "$t"; exit $s; }
"""


@dataclass(frozen=True, slots=True)
class _Raw:
    returncode: int
    stdout: bytes
    stderr: bytes


class SshHost:
    """Implements builder.model.host.Host. `secrets` are masked in the transcript and in errors."""

    def __init__(self, name: str, target: SshTarget, *, secrets: Sequence[Secret] = ()) -> None:
        self.name = name
        self.target = target
        self._secrets = tuple(secrets)
        self._transcript: list[HostResult] = []

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60) -> HostResult:
        """Run the command, each word as given. What was started goes on when the time is up, if it ignores the end
        of its connection. Raises TimedOut after `timeout` seconds, LabError when the node cannot be reached."""
        raw = self._run(argv, stdin, timeout)
        return HostResult(
            argv=tuple(argv),
            returncode=raw.returncode,
            stdout=raw.stdout.decode(errors="replace"),
            stderr=raw.stderr.decode(errors="replace"),
        )

    def read(self, path: str) -> bytes:
        """Raises LabError when the file cannot be read."""
        raw = self._run(["cat", "--", path], b"", 60)
        if raw.returncode:
            raise LabError(f"{self.name}: cannot read {path}: {raw.stderr.decode(errors='replace').strip()}")
        return raw.stdout

    def write(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        """The file appears whole, with its mode, or not at all; a link stays, and what is behind it is written. Raises
        LabError."""
        raw = self._run(["sh", "-c", _WRITE, "sh", path, f"{mode:o}"], content, 120)
        if raw.returncode:
            raise LabError(f"{self.name}: cannot write {path}: {raw.stderr.decode(errors='replace').strip()}")

    def boot_id(self) -> str:
        """What changes with every boot: Linux' boot_id, or the boot time that BSD kernels keep."""
        script = "cat /proc/sys/kernel/random/boot_id 2>/dev/null || sysctl -n kern.boottime"
        result = self.run(["sh", "-c", script], timeout=30)
        if not result.ok or not result.stdout.strip():
            raise LabError(f"{self.name}: the node does not tell its boot id: {result.stderr.strip()}")
        return result.stdout.strip()

    def reboot(self, *, wait: float) -> None:
        """Reboot, and return when the node answers with another boot id. The shared connection is closed on the way;
        who keeps it opens it again. Raises TimedOut after `wait` seconds."""
        before = self.boot_id()
        deadline = time.monotonic() + wait
        # In the background and a second later, so that this command still ends with a status of its own.
        self.run(["sh", "-c", "(sleep 1; exec reboot) </dev/null >/dev/null 2>&1 &"], timeout=30)
        close_master(self.target)
        while time.monotonic() < deadline:
            time.sleep(1)
            with contextlib.suppress(LabError):
                wait_banner(self.target, deadline)  # ssh itself would hang on a connection that the guest never saw
                if self.boot_id() != before:
                    return
        raise TimedOut("another boot id after a reboot", seconds=wait, node=self.name)

    def facts(self) -> HostFacts:
        """Raises LabError."""
        result = self.run(["sh", "-c", _FACTS])
        pairs = dict(line.split("=", 1) for line in result.stdout.splitlines() if "=" in line)
        if "dialect" not in pairs:
            raise LabError(f"{self.name}: the node does not say what it is: {result.stderr.strip()}")
        versions = {key.removeprefix("version."): value for key, value in pairs.items() if key.startswith("version.")}
        return HostFacts(dialect=pairs["dialect"], release=pairs.get("release", ""), versions=versions)

    def transcript(self) -> Sequence[HostResult]:
        return tuple(self._transcript)

    def _run(self, argv: Sequence[str], stdin: bytes, timeout: float) -> _Raw:
        process = subprocess.Popen(
            ssh_argv(self.target, argv),
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one prctl, safe between fork and exec
        )
        try:
            out, err = process.communicate(stdin or None, timeout=timeout)
        except subprocess.TimeoutExpired:
            end_group(process, grace=1)
            self._record(argv, _Raw(-1, b"", b"timed out"))
            raise TimedOut(f"the end of '{self._show(shlex.join(argv))}'", seconds=timeout, node=self.name) from None
        except BaseException:
            end_group(process, grace=1)
            raise
        raw = _Raw(process.returncode, out, err)
        self._record(argv, raw)
        if raw.returncode == UNREACHABLE:
            lines = self._show(raw.stderr.decode(errors="replace")).split("\n")
            said = "; ".join([line.strip() for line in lines if line.strip()][-2:])
            raise LabError(
                f"{self.name}: ssh failed: {said or 'no reason given'}",
                hint="nestlab status shows whether the node is up, nestlab console its last words",
            )
        return raw

    def _record(self, argv: Sequence[str], raw: _Raw) -> None:
        self._transcript.append(
            HostResult(
                argv=tuple(self._show(word) for word in argv),
                returncode=raw.returncode,
                stdout=self._show(raw.stdout.decode(errors="replace")),
                stderr=self._show(raw.stderr.decode(errors="replace")),
            )
        )

    def _show(self, text: str) -> str:
        return redact(text, self._secrets)
