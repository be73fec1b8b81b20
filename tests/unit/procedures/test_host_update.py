"""A host brought up to date, and the kernel before it brought back."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence

import pytest

from builder.errors import LabError
from builder.procedures import load_procedure
from builder.procedures.boot import GRUB_CFG as CONFIG
from builder.procedures.engine import Engine, Outcome
from builder.procedures.errors import Failed, Refused, Unproven
from builder.procedures.grubcfg import default_of, entry_of
from builder.procedures.host_update import DROP_IN, ENTRY, SCRIPT
from builder.procedures.options import parse_options
from builder.procedures.update_families import FAMILIES
from tests.support.fake_host import FakeHost, world

OLD, NEW = "6.12.1-amd64", "6.12.10-amd64"
XEN = "Debian GNU/Linux, with Xen hypervisor"


class Debian(FakeHost):
    """apt brings a kernel; update-grub makes the newest one the default, or what the drop-in says."""

    def __init__(self) -> None:
        self.running, self.kernels, self.initrds = OLD, [OLD], {OLD: OLD}
        self.pending = {"linux-image-amd64": NEW, "openssl": "2"}
        self.more, self.room, self.xen, self.fails, self.stale = "", 900, True, False, False
        super().__init__({
            "sh -c": self._shell,
            "uname -r": lambda _: f"{self.running}\n",
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
        return "\n".join(filter(None, rows)) + "\n"

    def _upgrade(self) -> str | int:
        if self.fails:
            return 100
        self.pending = {}
        self.kernels = [OLD, NEW]
        return ""

    def _grub(self) -> str:
        files = {path: text.decode() for path, text in self.files.items()}
        default = re.findall(r"^GRUB_DEFAULT=(.*)$", files.get(DROP_IN, ""), re.MULTILINE)
        first = "\tmultiboot2\t/boot/xen-4.20-amd64.gz placeholder\n\tmodule2" if self.xen else "\tlinux"
        entry = f"menuentry '{XEN}' {{\n{first}\t/boot/vmlinuz-{self.kernels[-1]} placeholder\n}}\n"
        kept = "".join(files.get(SCRIPT, "").splitlines(True)[2:])
        self.files[CONFIG] = f'   set default="{default[0] if default else XEN}"\n{entry}{kept}'.encode()
        return ""

    def _start(self) -> None:
        config = self.files[CONFIG].decode()
        self.running = re.findall(r"/boot/vmlinuz-(\S+)", entry_of(config, default_of(config)))[0]


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


def test_updates_without_a_kernel_restart_nothing_twice_and_are_undone() -> None:
    host = Debian()
    host._upgrade = lambda: host.pending.clear() or ""  # type: ignore[method-assign, func-returns-value]
    assert do(host).result == "applied" and host.running == OLD
    done = undo(host)
    assert (done.result, done.rebooted) == ("undone", False)
    assert SCRIPT not in host.files and ENTRY not in host.files[CONFIG].decode()


def test_a_kernel_that_was_installed_but_not_started_is_started() -> None:
    host = Debian()
    host.pending, host.kernels = {}, [OLD, NEW]
    assert do(host).result == "applied" and host.running == NEW


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


@pytest.mark.parametrize(("change", "code"), [
    (lambda host: host.pending.update({"xen-hypervisor-4.20-amd64": "4.20.5"}), "xen-pending"),
    (_xen, "xen-not-default"),
    (lambda host: setattr(host, "more", "gone xen-utils-4.20"), "removes"),
    (lambda host: setattr(host, "more", "unfinished openssl"), "unfinished"),
    (lambda host: setattr(host, "room", 20), "no-room"),
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
