"""A NetBSD medium in small, and stand-ins for the programs that the installing script calls on it.

NetBSD's kernel and its tools for disks cannot be had here: they are fakes that write down how they were called, and say
what the real ones would, as far as the script listens. The shell, and all that copies and unpacks, are real.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from builder.model.plan import SystemPlan
from tests.support.netbsd import SCRIPT

# Where each program is on the medium: distrib/amd64/cdroms/Makefile.cdrom copies /bin and /sbin whole, and names the
# rest. What is not in this table is not found by the script, here as there.
ON_MEDIUM = {
    "/bin": ("cat", "chmod", "cp", "dd", "ln", "mkdir", "rm", "sh", "sleep", "sync", "tar"),
    "/sbin": ("chown", "dhcpcd", "disklabel", "dkctl", "fdisk", "ifconfig", "mount", "newfs", "raidctl", "route",
              "shutdown", "sysctl", "umount"),
    "/usr/bin": ("ftp", "gzip", "sed"),
    "/usr/sbin": ("chroot", "installboot"),
}  # fmt: skip
REAL = ("cat", "chmod", "cp", "gzip", "ln", "mkdir", "rm", "sed", "sh", "tar")
SECTORS = 33554432
"""Of every disk of the machine: 16 GiB."""

_STAND_IN = r"""#!/bin/sh
name=${0##*/}
printf '%s\n' "$name $*" >> "$RIG/log"
case "$name $*" in
    $FAIL) exit 1 ;;
esac
case "$name $*" in
    'sysctl -n hw.disknames') echo "$DISKS" ;;
    'disklabel -R -r '*) "$REAL/cp" "$4" "$RIG/label.$3" ;;
    'disklabel '*) echo "total sectors: $SECTORS" ;;
    'raidctl -s '*) [ "$2" = "$CONFIGURED" ] ;;
    'dkctl '*' listwedges')
        if [ -n "$WEDGES" ]; then echo "$1: 2 wedges:"; echo 'dk0: EFI, 1 blocks'; echo 'dk3: old, 9 blocks'; fi ;;
    'mount -t cd9660 '*) [ "$5" = "/dev/$VOLUME" ] && "$REAL/cp" -R "$RIG/volume/." "$6/" ;;
    'umount '*/volume) "$REAL/rm" -r "$1/seed" ;;
    'ftp -o '*) echo kernel | "$REAL/gzip" -c > "$2" ;;
    'chroot '*pkg_add*)
        "$REAL/mkdir" -p "$1/usr/pkg/xen$XEN-kernel" "$1/usr/pkg/share/examples/rc.d"
        echo xen > "$1/usr/pkg/xen$XEN-kernel/xen.gz"
        for each in xencommons xendomains xen-watchdog; do
            echo "# $each" > "$1/usr/pkg/share/examples/rc.d/$each"
        done ;;
    'chroot '*'pkg_info -e xenkernel'*) echo "xenkernel$XEN-$KERNEL_VERSION" ;;
    'chroot '*'pkg_info -e xentools'*) echo "xentools$XEN-$TOOLS_VERSION" ;;
    'sleep '*) kill "$PPID" ;;
esac
"""
_WRAPPER = r"""#!/bin/sh
name=${0##*/}
printf '%s\n' "$name $*" >> "$RIG/log"
case "$name $*" in
    $FAIL) exit 1 ;;
esac
exec "$REAL/$name" "$@"
"""


@dataclass
class Run:
    """What a run left: its words on the console, and the calls in their order, without the rig's own paths."""

    said: list[str]
    errors: str
    calls: list[str]
    target: Path
    labels: dict[str, str]

    @property
    def failed(self) -> str | None:
        """The step that failed, or None."""
        lines = [line for line in self.said if line.startswith("nestlab: failed: ")]
        return lines[0].removeprefix("nestlab: failed: ").partition(": ")[0] if lines else None

    @property
    def marks(self) -> list[str]:
        return [line for line in self.said if line.startswith("nestlab: ")]


@dataclass
class Rig:
    """A machine with the medium in its drive. Everything that may be other than usual is a field."""

    folder: Path
    plan: SystemPlan
    packages: tuple[str, ...] = ("xenkernel418-20260911.tgz", "xentools418-20260911nb2.tgz", "yajl-2.1.0.tgz")
    without: tuple[str, ...] = ()
    volume: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, shell: tuple[str, ...] = ("dash",), *, fail: str = "", again: bool = False) -> Run:
        """Start the script. `fail` is a pattern of sh for the call that fails; `again`: as init does when it ended."""
        if not again:
            self._lay_out()
        base = {
            "RIG": str(self.folder), "REAL": str(self.folder / "real"), "FAIL": fail or "nothing fails",
            "DISKS": "cd0 cd1 wd0 wd1 sd0 sd1", "SECTORS": str(SECTORS), "CONFIGURED": "", "WEDGES": "",
            "VOLUME": "cd1a" if self.volume else "none", "XEN": "418", "KERNEL_VERSION": "20260911",
            "TOOLS_VERSION": "20260911nb2",
        }  # fmt: skip
        done = subprocess.run(
            [shutil.which(shell[0]) or shell[0], *shell[1:], str(self.folder / "script")],
            env=base | self.environment, check=False, capture_output=True, text=True, timeout=60,
            stdin=subprocess.DEVNULL, cwd=self.folder,
        )  # fmt: skip
        calls = (self.folder / "log").read_text().replace(f"{self.folder}/", "").splitlines()
        labels = {path.suffix[1:]: path.read_text() for path in self.folder.glob("label.*")}
        return Run(done.stdout.splitlines(), done.stderr, calls, self.folder / "target", labels)

    def _lay_out(self) -> None:
        if self.folder.exists():
            shutil.rmtree(self.folder)
        medium = self.folder / "medium"
        for folder in ("target", "bin", "real", "medium/usr/mdec", "medium/etc", "medium/nestlab/packages"):
            (self.folder / folder).mkdir(parents=True)
        (self.folder / "log").write_text("")
        (medium / "usr/mdec/boot").write_text("loader\n")
        (medium / "etc/resolv.conf").write_text("nameserver 192.0.2.1\n")
        sets = medium / "amd64/binary/sets"
        sets.mkdir(parents=True)
        contents = {
            "base": {"usr/sbin/pkg_add": "x"}, "etc": {"etc/ssh/sshd_config": "UsePAM yes\n", "etc/rc.d/network": "x"},
            "kern-GENERIC": {"netbsd": "kernel"},
        }  # fmt: skip
        for name in ("base", "etc", "modules", "rescue", "man", "misc", "text", "kern-GENERIC"):
            if name not in self.without:
                _set(sets / f"{name}.tar.xz", contents.get(name, {f"usr/share/{name}": name}))
        kernel = medium / "amd64/binary/kernel/netbsd-XEN3_DOM0.gz"
        kernel.parent.mkdir()
        if "netbsd-XEN3_DOM0" not in self.without:
            kernel.write_text("dom0's kernel\n")
        for package in self.packages:
            (medium / "nestlab/packages" / package).write_text(package)
        for answer in self.plan.answers:
            path = medium / answer.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(answer.content)
        for name, content in self.volume.items():
            path = self.folder / "volume/seed" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        self._programs()
        self._script()

    def _programs(self) -> None:
        for name in (name for names in ON_MEDIUM.values() for name in names):
            stand_in = self.folder / "bin" / name
            stand_in.write_text(_WRAPPER if name in REAL else _STAND_IN)
            stand_in.chmod(0o755)
            if name in REAL:
                os.symlink(shutil.which(name) or name, self.folder / "real" / name)

    def _script(self) -> None:
        """The script with its places moved into the rig. Nothing of this machine is left in it but /dev/null."""
        text = next(answer.content for answer in self.plan.answers if answer.name == SCRIPT)
        for old, new in (
            ("PATH=/sbin:/bin:/usr/sbin:/usr/bin\n", f"PATH={self.folder}/bin\n"),
            ("medium=\n", f"medium={self.folder}/medium\n"),
            ("target=/targetroot\n", f"target={self.folder}/target\n"),
            ("work=/tmp/nestlab\n", f"work={self.folder}/work\n"),
            (" /usr/mdec/", f" {self.folder}/medium/usr/mdec/"),
            ("exec /bin/sh\n", f"exec {self.folder}/bin/sh\n"),
        ):
            assert old in text or "exec" in old
            text = text.replace(old, new)
        text = re.sub(r"(?<!put 0644) /etc/resolv.conf", f" {self.folder}/medium/etc/resolv.conf", text)
        (self.folder / "script").write_text(text)


def _set(path: Path, files: dict[str, str]) -> None:
    """A set. Its compression is gzip's: that of Linux, which unpacks it here, knows no other."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content.encode()))
