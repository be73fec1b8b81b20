"""A host brought up to date, and the kernel before it brought back."""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from builder.errors import LabError
from builder.procedures import load_procedure
from builder.procedures.boot import GRUB_CFG as CONFIG
from builder.procedures.engine import Engine, Outcome
from builder.procedures.errors import Failed, Refused, Unproven
from builder.procedures.grubcfg import default_of, entry_of
from builder.procedures.host_update import DROP_IN, ENTRY, INITRD, KERNEL, SCRIPT
from builder.procedures.options import parse_options
from builder.procedures.update_families import _APT_KERNEL, FAMILIES
from tests.support.fake_host import FakeHost, world

OLD, NEW = "6.12.1-amd64", "6.12.10-amd64"
# As `uname -v` of Debian 12 and 13 says it.
BUILD, BUILT_ANEW = (f"#1 SMP PREEMPT_DYNAMIC Debian 6.12.1-{number} (2026-11-12)" for number in (1, 2))
XEN = "Debian GNU/Linux, with Xen hypervisor"


class Debian(FakeHost):
    """apt brings a kernel; update-grub makes the newest one the default, or what the drop-in says. `boot` has the build
    of each kernel's file in /boot, `initrds` what each initrd was made for, both by name."""

    def __init__(self) -> None:
        self.running, self.kernels, self.initrds = OLD, [OLD], {OLD: OLD}
        self.boot, self.build = {f"vmlinuz-{OLD}": BUILD}, BUILD
        self.pending = {"linux-image-amd64": NEW, "openssl": "2"}
        self.more, self.room, self.xen, self.fails, self.stale = "", 900, True, False, False
        super().__init__({
            "sh -c": self._shell,
            "uname -r": lambda _: f"{self.running}\n",
            "uname -v": lambda _: f"{self.build}\n",
            "cp -p": self._copy,
            "rm -f -- /boot/": lambda argv: self.boot.pop(argv[3].rpartition("/")[2], "") and "",
            "xl info": "nr_cpus : 2\n",
            "xl list": "Name ID Mem VCPUs State Time(s)\nDomain-0 0 1024 2 r----- 1.0\n",
            "env DEBIAN_FRONTEND=noninteractive apt-get": lambda _: self._upgrade(),
            "update-grub": lambda _: self._grub(),
        })  # fmt: skip
        self.on_reboot = self._start
        self._grub()

    def _shell(self, argv: Sequence[str]) -> str | int:
        script = argv[2]
        if "/etc/os-release" in script:
            return "debian \n"
        if "update-initramfs" in script:
            self.initrds[self.kernels[-1]] = OLD if self.stale else self.kernels[-1]
            return ""
        if "lsinitramfs" in script:
            return f"{self.initrds.get(argv[4], '')}\n"
        assert script == FAMILIES["debian"].look
        rows = [f"up {name} 1 {version}" for name, version in self.pending.items()]
        rows += [f"kernel {name}" for name in self.kernels] + [self.more, f"room {self.room}"]
        rows += [f"build {self.build}", f"installed {self.boot.get(f'vmlinuz-{self.kernels[-1]}', BUILT_ANEW)}"]
        rows += [f"owner linux-image-{self.running}", "copies 60"]
        return "\n".join(filter(None, rows)) + "\n"

    def _upgrade(self) -> str | int:
        if self.fails:
            return 100
        if f"linux-image-{OLD}" in self.pending:
            self.boot[f"vmlinuz-{OLD}"] = BUILT_ANEW
        else:
            self.kernels = [OLD, NEW]
            self.boot[f"vmlinuz-{NEW}"] = BUILT_ANEW
        self.pending = {}
        return ""

    def _copy(self, argv: Sequence[str]) -> str:
        name, copy = (path.removeprefix("/boot/") for path in argv[2:])
        assert name in self.boot or name == f"initrd.img-{OLD}"
        self.boot[copy] = self.boot.get(name, name)
        return ""

    def _grub(self) -> str:
        files = {path: text.decode() for path, text in self.files.items()}
        default = re.findall(r"^GRUB_DEFAULT=(.*)$", files.get(DROP_IN, ""), re.MULTILINE)
        first = "\tmultiboot2\t/boot/xen-4.20-amd64.gz placeholder\n\tmodule2" if self.xen else "\tlinux"
        entry = f"menuentry '{XEN}' {{\n{first}\t/boot/vmlinuz-{self.kernels[-1]} placeholder\n"
        entry += f"\tmodule2\t--nounzip\t/boot/initrd.img-{self.kernels[-1]}\n}}\n"
        kept = "".join(files.get(SCRIPT, "").splitlines(True)[2:])
        self.files[CONFIG] = f'   set default="{default[0] if default else XEN}"\n{entry}{kept}'.encode()
        return ""

    def _start(self) -> None:
        config = self.files[CONFIG].decode()
        name = re.findall(r"/boot/(\S*vmlinuz\S*)", entry_of(config, default_of(config)))[0]
        self.running = OLD if name == KERNEL else name.removeprefix("vmlinuz-")
        self.build = self.boot[name]


def do(host: Debian) -> Outcome:
    procedure = load_procedure("host-update")
    return Engine(world(host), sleep=lambda _: None).run("dom0", procedure, parse_options(procedure, {}))


def undo(host: Debian) -> Outcome:
    return Engine(world(host), sleep=lambda _: None).undo("dom0", load_procedure("host-update"))


def test_the_new_kernel_runs_and_the_one_before_comes_back() -> None:
    host = Debian()
    done = do(host)
    assert (done.result, done.rebooted, host.running) == ("applied", True, NEW)
    assert f"/boot/vmlinuz-{OLD}" in entry_of(host.files[CONFIG].decode(), ENTRY)
    assert do(host).result == "unchanged"
    done = undo(host)
    assert (done.result, done.rebooted, host.running) == ("undone", True, OLD)
    host.reboot(wait=1)
    assert host.running == OLD
    assert do(host).result == "applied" and host.running == NEW and DROP_IN not in host.files


def test_a_new_kernel_of_the_same_name_runs_and_the_one_before_comes_back() -> None:
    """It takes the place of the other's file: that one, and its initrd, are kept."""
    host = Debian()
    host.pending = {f"linux-image-{OLD}": "6.12.1-2", "linux-image-amd64": "6.12.1-2"}
    done = do(host)
    assert (done.result, done.rebooted, host.running, host.build) == ("applied", True, OLD, BUILT_ANEW)
    assert [each.seen for each in done.evidence if each.what == "its build"] == [BUILT_ANEW]
    entry = entry_of(host.files[CONFIG].decode(), ENTRY)
    assert f"/boot/{KERNEL} placeholder" in entry and f"/boot/{INITRD}\n" in entry and OLD not in entry
    assert do(host).result == "unchanged"
    done = undo(host)
    assert (done.result, done.rebooted, host.build) == ("undone", True, BUILD)
    assert [each.seen for each in done.evidence if each.what == "its build"] == [BUILD]
    host.reboot(wait=1)
    assert host.build == BUILD
    assert do(host).result == "applied" and host.build == BUILT_ANEW and host.boot[KERNEL] == BUILD
    assert undo(host).result == "undone" and host.build == BUILD


def test_one_of_the_same_name_that_failed_before_its_start_leaves_nothing_when_undone() -> None:
    host = Debian()
    host.pending, host.fails = {f"linux-image-{OLD}": "6.12.1-2"}, True
    with pytest.raises(Failed):
        do(host)
    assert KERNEL in host.boot and undo(host).result == "undone"
    assert host.boot == {f"vmlinuz-{OLD}": BUILD} and SCRIPT not in host.files


def test_one_of_the_same_name_that_was_installed_but_not_started_is_told() -> None:
    host = Debian()
    host.pending, host.boot[f"vmlinuz-{OLD}"] = {}, BUILT_ANEW
    with pytest.raises(Refused, match=r"another build of .* is installed than the one that runs") as caught:
        do(host)
    assert [refusal.code for refusal in caught.value.refusals] == ["installed-not-running"]
    assert host.changes == []
    host.reboot(wait=1)
    assert do(host).result == "unchanged"


def test_updates_without_a_kernel_restart_nothing_twice_and_are_undone() -> None:
    host = Debian()
    host._upgrade = lambda: host.pending.clear() or ""  # type: ignore[method-assign, func-returns-value]
    assert do(host).result == "applied" and host.running == OLD
    done = undo(host)
    assert (done.result, done.rebooted) == ("undone", False)
    assert SCRIPT not in host.files and ENTRY not in host.files[CONFIG].decode()


def test_a_kernel_that_was_installed_but_not_started_is_started() -> None:
    host = Debian()
    host.pending, host.kernels, host.boot[f"vmlinuz-{NEW}"] = {}, [OLD, NEW], BUILT_ANEW
    host._grub()
    assert do(host).result == "applied" and host.running == NEW
    assert undo(host).result == "undone" and host.running == OLD


def test_what_goes_wrong_is_told() -> None:
    host = Debian()
    host.fails = True
    with pytest.raises(Failed, match="dpkg --configure -a"):
        do(host)
    assert undo(host).result == "undone" and SCRIPT not in host.files
    host = Debian()
    host.stale = True
    with pytest.raises(Unproven, match=f"modules of: expected {NEW}, seen {OLD}"):
        do(host)


def _xen(host: Debian) -> None:
    host.xen = False
    host._grub()


def _copies(host: Debian) -> None:
    """As much as is asked for, and not quite what the copies take beside it."""
    host.room, host.pending[f"linux-image-{OLD}"] = 259, "6.12.1-2"


@pytest.mark.parametrize(("change", "code"), [
    (lambda host: host.pending.update({"xen-hypervisor-4.20-amd64": "4.20.5"}), "xen-pending"),
    (_xen, "xen-not-default"),
    (lambda host: setattr(host, "more", "gone xen-utils-4.20"), "removes"),
    (lambda host: setattr(host, "more", "unfinished openssl"), "unfinished"),
    (lambda host: setattr(host, "room", 20), "no-room"),
    (_copies, "no-room"),
])  # fmt: skip
def test_reasons_against_it(change: Callable[[Debian], None], code: str) -> None:
    host = Debian()
    change(host)
    with pytest.raises(Refused) as caught:
        do(host)
    assert [refusal.code for refusal in caught.value.refusals] == [code]
    assert host.changes == []


def test_other_hosts_are_told() -> None:
    host = Debian()
    host.answers["sh -c"] = "fedora rhel\n"
    with pytest.raises(LabError, match="neither a Debian nor a SUSE host"):
        do(host)


def test_what_apt_says_is_read() -> None:
    """The part of the script that reads apt, with lines as apt-get of Debian 12 and 13 writes them."""
    said = (
        "NOTE: This is only a simulation!\nInst libssl3 [3.0.18-1] (3.0.19-1 Debian-Security:12/stable [amd64]) []\n"
        "Inst linux-image-6.1.0-56-amd64 (6.1.192-2 Debian-Security:12/stable [amd64])\nRemv old-thing [1.0]\n"
        "Conf libssl3 (3.0.19-1 Debian-Security:12/stable [amd64])\n"
    )
    lines = re.findall(r"sed -n \\\n(.*\n.*)\n", FAMILIES["debian"].look)[0]
    done = subprocess.run(["sh", "-c", f"sed -n {lines}"], input=said, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "up libssl3 3.0.18-1 3.0.19-1", "new linux-image-6.1.0-56-amd64", "gone old-thing",
    ]  # fmt: skip


def test_the_build_of_a_kernel_is_read_from_its_file(tmp_path: Path) -> None:
    """The script by a real shell, on a header as in Linux' Documentation/arch/x86/boot.rst."""
    said = f"{NEW} (debian-kernel@lists.debian.org) {BUILT_ANEW}".encode()
    header = bytearray(b"\xff" * 0x3C10)
    header[0x202:0x206], header[0x20E:0x210] = b"HdrS", struct.pack("<H", 0x3A00)
    header[0x3C00:] = said + b"\0" + b"\xff" * 300
    (tmp_path / f"vmlinuz-{NEW}").write_bytes(header)
    (tmp_path / f"vmlinuz-{OLD}").write_bytes(b"no bzImage")
    for name, text in (("uname", f'[ "$1" = -v ] && echo "{BUILD}" || echo {OLD}'),
                       ("dpkg-query", f"echo linux-image-{OLD}: $2")):  # fmt: skip
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    script = _APT_KERNEL.replace("/boot", str(tmp_path))

    def told() -> list[str]:
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True,
                              env={"PATH": f"{tmp_path}:/usr/bin:/bin"})  # fmt: skip
        return [line for line in done.stdout.splitlines() if not line.startswith("copies ")]

    assert told() == [f"build {BUILD}", f"installed {BUILT_ANEW}", f"owner linux-image-{OLD}"]
    (tmp_path / f"vmlinuz-{NEW}").write_bytes(b"no bzImage")
    assert told() == [f"build {BUILD}", f"owner linux-image-{OLD}"]
