"""Hosts of zypper's and of yum's brought up to date. What these programs say is in the formats of their manuals."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from builder.errors import LabError
from builder.procedures import load_procedure
from builder.procedures.engine import Engine, Outcome
from builder.procedures.errors import Refused, Unproven
from builder.procedures.grubcfg import entry_of
from builder.procedures.host_update import ENTRY, SCRIPT
from builder.procedures.options import parse_options
from builder.procedures.update_families import _DRACUT_MODULES, FAMILIES, YUM_INITRD, YUM_LOOK, YUM_REBUILD
from tests.support.fake_host import FakeHost, world

OLD, NEW = "6.4.0-150600.21-default", "6.4.0-150600.23.7-default"
SUSE = FAMILIES["suse"]
XEN = "openSUSE Leap 15.6, with Xen hypervisor"
UUID, FIRST = "1b6b3a5e-0000-4000-8000-000000000001", "1b6b3a5e-0000-4000-8000-000000000002"

# Restated from zypper(8), yum(8), dracut(8), lsinitrd(1) and the GRUB manual: what each takes, its words joined.
CALLS: Mapping[str, str] = {
    "zypper": r"((-q|--quiet) )?--non-interactive (list-updates -t package"
    r"|update( --dry-run)?( --auto-agree-with-licenses)?)",
    "yum": r"-y update|-q update --assumeno|-q check-update|-q history list",
    "dracut": r"--force( -M)? \S+ \S+",
    "lsinitrd": r"\S+",
    "grub2-mkconfig": r"-o /boot/grub2/grub\.cfg",
    "grub2-set-default": r".+",
    "grub2-editenv": r"- (list|set \S+=.*|unset \S+)",
}


def refused(script: str) -> list[str]:
    """Calls in a script or a command line that the tables do not have."""
    found = re.findall(rf"(?:^|[ ;|&(])({'|'.join(CALLS)}) ([^|;>&\n)]*)", script, re.MULTILINE)
    calls = [(name, re.sub(r" 2$", "", words.replace('"', "").strip())) for name, words in found]
    return [f"{name} {words}" for name, words in calls if not re.fullmatch(CALLS[name], words)]


class Suse(FakeHost):
    """GRUB starts its saved entry, or the first; zypper brings a kernel."""

    def __init__(self) -> None:
        self.running, self.kernels, self.initrds = OLD, [OLD], {OLD: OLD}
        self.pending, self.more = {"kernel-default": "6.4.0-150600.23.7.3", "openssl": "3.1.4"}, ""
        self.environment: dict[str, str] = {"saved_entry": XEN}
        super().__init__({
            "sh -c": self._shell,
            "uname -r": lambda _: f"{self.running}\n",
            "xl info": "nr_cpus : 2\n",
            "xl list": "Name ID Mem VCPUs State Time(s)\nDomain-0 0 1024 2 r----- 1.0\n",
            "grub2-mkconfig": lambda _: self._grub(),
            "grub2-editenv - list": lambda _: "".join(f"{k}={v}\n" for k, v in self.environment.items()),
            "grub2-editenv - set": lambda argv: self._set(*argv[3].split("=", 1)),
            "grub2-editenv - unset": lambda argv: self._set(argv[3], ""),
            "grub2-set-default": lambda argv: self._set("saved_entry", argv[1]),
        })  # fmt: skip
        self.on_reboot = self._start
        self._grub()

    def _set(self, key: str, value: str) -> str:
        self.environment = {k: v for k, v in (self.environment | {key: value}).items() if v}
        return ""

    def _shell(self, argv: Sequence[str]) -> str:
        script = argv[2]
        assert refused(script) == []
        if "/etc/os-release" in script:
            return "opensuse-leap suse opensuse\n"
        if script == SUSE.look:
            rows = [f"up {name} 1 {version}" for name, version in self.pending.items()]
            return "\n".join([*rows, *(f"kernel {name}" for name in self.kernels), self.more, "room 900"]) + "\n"
        if script == SUSE.update[2]:
            self.changes.append("zypper update")
            self.pending, self.kernels = {}, [OLD, NEW]
        elif script == SUSE.rebuild:
            self.initrds[self.kernels[-1]] = self.kernels[-1]
        else:
            assert script == SUSE.initrd
            return f"{self.initrds.get(argv[4], '')}\n"
        return ""

    def _grub(self) -> str:
        entry = (f"menuentry '{XEN}' {{\n\tmultiboot2\t/boot/xen-4.18.gz placeholder\n"
                 f"\tmodule2\t/boot/vmlinuz-{self.kernels[-1]} placeholder\n}}\n")  # fmt: skip
        kept = "".join(self.files.get(SCRIPT, b"").decode().splitlines(True)[2:])
        self.files[SUSE.config] = f'   set default="${{saved_entry}}"\n{entry}{kept}'.encode()
        return ""

    def _start(self) -> None:
        entry = entry_of(self.files[SUSE.config].decode(), self.environment["saved_entry"])
        self.running = re.findall(r"/boot/vmlinuz-(\S+)", entry)[0]


def do(host: FakeHost) -> Outcome:
    procedure = load_procedure("host-update")
    return Engine(world(host), sleep=lambda _: None).run("dom0", procedure, parse_options(procedure, {}))


def undo(host: FakeHost) -> Outcome:
    return Engine(world(host), sleep=lambda _: None).undo("dom0", load_procedure("host-update"))


def test_a_suse_host_gets_its_kernel_and_the_one_before_comes_back() -> None:
    host = Suse()
    done = do(host)
    assert (done.result, done.rebooted, host.running) == ("applied", True, NEW)
    assert f"/boot/vmlinuz-{OLD}" in entry_of(host.files[SUSE.config].decode(), ENTRY)
    assert [problem for line in done.actions for problem in refused(line)] == []
    assert do(host).result == "unchanged"
    assert undo(host).result == "undone" and host.running == OLD
    host.reboot(wait=1)
    assert host.running == OLD
    assert do(host).result == "applied" and host.running == NEW
    assert host.environment == {"saved_entry": XEN}


@pytest.mark.parametrize(("change", "code"), [
    (lambda host: host.pending.update({"xen": "4.18.3"}), "xen-pending"),
    (lambda host: setattr(host, "more", "gone libvirt-daemon-xen"), "removes"),
    (lambda host: host.files.update({SUSE.config: b"menuentry 'Leap' {\n\tlinux\t/boot/vmlinuz\n}\n"}),
     "xen-not-default"),
])  # fmt: skip
def test_reasons_against_it(change: Callable[[Suse], None], code: str) -> None:
    host = Suse()
    change(host)
    with pytest.raises(Refused) as caught:
        do(host)
    assert [refusal.code for refusal in caught.value.refusals] == [code]
    assert host.changes == []


def told(folder: Path, script: str, *argv: str, **programs: str) -> list[str]:
    """What a script makes of what programs print, by a real shell. `programs` are shell scripts."""
    for name, text in programs.items():
        path = folder / name.replace("_", "-")
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    done = subprocess.run(["sh", "-c", script, "sh", *argv], capture_output=True, text=True, check=False,
                          env={**os.environ, "PATH": f"{folder}:/usr/bin:/bin"})  # fmt: skip
    return [*done.stdout.splitlines(), *([f"status {done.returncode}"] if done.returncode else [])]


LIST_UPDATES = """\
S  | Repository                | Name           | Current Version     | Available Version     | Arch
---+---------------------------+----------------+---------------------+-----------------------+-------
v  | Update repository of SLE  | kernel-default | 6.4.0-150600.21.2   | 6.4.0-150600.23.7.3   | x86_64
v  | Main Update Repository    | openssl        | 3.1.4-150600.2.1    | 3.1.4-150600.3.4      | noarch
"""
DRY_RUN = """\
Loading repository data...
Reading installed packages...

The following NEW package is going to be installed:
  kernel-default-6.4.0-150600.23.7.3

The following 2 packages are going to be REMOVED:
  old-one old-other

The following package is going to be upgraded:
  openssl

1 package to upgrade, 1 new, 2 to remove.
Package download size:   120.1 MiB
"""


def test_what_zypper_says_is_read(tmp_path: Path) -> None:
    script = SUSE.look.partition("ls /boot")[0]
    (tmp_path / "list").write_text(LIST_UPDATES)
    (tmp_path / "dry").write_text(DRY_RUN)
    zypper = f'case "$*" in *list-updates*) cat {tmp_path}/list ;; *--dry-run*) cat {tmp_path}/dry ;; *) exit 9 ;; esac'
    assert told(tmp_path, script, zypper=zypper) == [
        "up kernel-default 6.4.0-150600.21.2 6.4.0-150600.23.7.3", "up openssl 3.1.4-150600.2.1 3.1.4-150600.3.4",
        "new kernel-default-6.4.0-150600.23.7.3", "gone old-one", "gone old-other",
    ]  # fmt: skip
    assert told(tmp_path, script, zypper="echo 'No updates found.'") == []


@pytest.mark.parametrize(("first", "then", "status"), [
    (0, 9, []), (102, 9, []), (103, 0, []), (103, 102, []), (4, 0, ["status 4"]), (103, 8, ["status 8"]),
])  # fmt: skip
def test_statuses_of_zypper_that_ask_for_more_are_no_failure(
    tmp_path: Path, first: int, then: int, status: list[str]
) -> None:
    zypper = f"[ -e {tmp_path}/again ] && exit {then}; : >{tmp_path}/again; exit {first}"
    assert told(tmp_path, SUSE.update[2], zypper=zypper) == status


def test_what_an_initrd_was_made_for_is_read(tmp_path: Path) -> None:
    listing = (f"drwxr-xr-x   3 root root 0 Jan  1 00:00 usr/lib/modules/{NEW}/kernel\n"
               f"-rw-r--r--   1 root root 9 Jan  1 00:00 usr/lib/modules/{NEW}/modules.dep\n"
               "-rw-r--r--   1 root root 9 Jan  1 00:00 etc/mdadm.conf\n")  # fmt: skip
    (tmp_path / "listing").write_text(listing)
    assert told(tmp_path, SUSE.initrd, NEW, lsinitrd=f"cat {tmp_path}/listing") == [NEW]
    assert told(tmp_path, YUM_INITRD, NEW, lsinitrd=f"cat {tmp_path}/listing") == [NEW, "mdadm.conf"]
    assert "lib/modules" in _DRACUT_MODULES


CHECK_UPDATE = """\

kernel.x86_64                     4.19.19-8.0.38.1.xcpng8.3      xcp-ng-updates
openssl.x86_64                    1:1.0.2k-26.2.xcpng8.3         xcp-ng-updates
xcp-ng-xapi-plugins-with-a-long-name.noarch
                                  1.11.0-1.xcpng8.3              xcp-ng-updates
Obsoleting Packages
new-one.x86_64                    1.0-1                          xcp-ng-updates
    old-one.x86_64                0.9-1                          @xcp-ng-base
"""
PLAN = """\

================================================================================
 Package         Arch       Version                  Repository            Size
================================================================================
Updating:
 openssl         x86_64     1:1.0.2k-26.2.xcpng8.3   xcp-ng-updates       492 k
Removing:
 old-one         x86_64     0.9-1                    @xcp-ng-base          10 k
Removing for dependencies:
 needs-old       x86_64     0.9-1                    @xcp-ng-base          10 k

Transaction Summary
================================================================================
Upgrade  1 Package
Remove   2 Packages
"""
HISTORY = """\
ID     | Login user               | Date and time    | Action(s)      | Altered
-------------------------------------------------------------------------------
    12 | root <root>              | 2026-10-02 10:11 | Update         |    9{0}
    11 | root <root>              | 2026-09-01 10:11 | I, U           |   30 *
"""


@pytest.mark.parametrize(("mark", "unfinished"), [("", []), (" *", ["unfinished transaction-12"])])
def test_what_yum_says_is_read(tmp_path: Path, mark: str, unfinished: list[str]) -> None:
    for name, text in (("check", CHECK_UPDATE), ("plan", PLAN), ("history", HISTORY.format(mark))):
        (tmp_path / name).write_text(text)
    script = YUM_LOOK.partition("ls /boot")[0]
    yum = (f'case "$*" in *check-update*) cat {tmp_path}/check; exit 100 ;;'
           f" *--assumeno*) cat {tmp_path}/plan; exit 1 ;; *history*) cat {tmp_path}/history ;;"
           " *) exit 9 ;; esac")  # fmt: skip
    assert told(tmp_path, script, yum=yum) == [
        "up kernel - 4.19.19-8.0.38.1.xcpng8.3", "up openssl - 1:1.0.2k-26.2.xcpng8.3",
        "up xcp-ng-xapi-plugins-with-a-long-name - 1.11.0-1.xcpng8.3", "gone old-one", "gone needs-old", *unfinished,
    ]  # fmt: skip
    assert told(tmp_path, script, yum="exit 1") == ["status 1"]
    assert refused(YUM_LOOK) == refused(YUM_REBUILD) == refused(YUM_INITRD) == []


def test_the_tables_refuse_what_these_programs_do_not_take() -> None:
    assert refused("yum -y upgrade-all") and refused("x=1; zypper update --force-it") and refused("dracut --force")


class Xcp(FakeHost):
    """A host of a pool, where yum brings a kernel and XAPI."""

    QUESTIONS = (*FakeHost.QUESTIONS, "xe pool-list", "xe vm-list", "xapi-wait")

    def __init__(self, *, coordinator: bool = True) -> None:
        self.kernels, self.running, self.inside = ["4.19.0+1"], "4.19.0+1", ["4.19.0+1", "mdadm.conf"]
        self.pending, self.more, self.arrays = {"kernel": "8.0.38.1", "xapi-core": "24.19.2-1.9"}, "", "md0 : active\n"
        self.builds = {UUID: "24.19.2", FIRST: "24.19.2"}
        super().__init__({
            "sh -c": self._shell,
            "uname -r": lambda _: f"{self.running}\n",
            "yum -y update": lambda _: self._update(),
            "xe pool-list": "POOL\n",
            "xe pool-param-get": f"{UUID if coordinator else FIRST}\n",
            "xe host-param-get": lambda argv: f"{self.builds[argv[2].partition('=')[2]]}\n",
            "xe vm-list": "\n",
            "xapi-wait-init-complete": "",
        }, {"/etc/xensource-inventory": f"INSTALLATION_UUID='{UUID}'\n"}, dialect="xe")  # fmt: skip
        self.on_reboot = lambda: setattr(self, "running", self.kernels[-1])

    def _shell(self, argv: Sequence[str]) -> str:
        if argv[2] == YUM_LOOK:
            rows = [f"up {name} - {version}" for name, version in self.pending.items()]
            return "\n".join([*rows, *(f"kernel {name}" for name in self.kernels), self.more, "room 300"]) + "\n"
        if argv[2] == YUM_INITRD:
            return "".join(f"{name}\n" for name in self.inside)
        if argv[2] == YUM_REBUILD:
            self.inside[0] = self.kernels[-1]
            return ""
        assert "mdstat" in argv[2], shlex.join(argv)
        return self.arrays

    def _update(self) -> str:
        self.pending, self.kernels = {}, ["4.19.0+1", "4.19.0+2"]
        return ""


def test_an_xcp_ng_host_is_updated_and_that_is_not_undone() -> None:
    host = Xcp()
    done = do(host)
    assert (done.result, done.rebooted, host.running) == ("applied", True, "4.19.0+2")
    assert done.evidence[-1].what.startswith("the initrd has mdadm.conf") and done.evidence[-1].ok
    assert do(host).result == "unchanged"
    before = [*host.changes]
    with pytest.raises(LabError, match="updates of XCP-ng are not undone"):
        undo(host)
    assert host.changes == before


def test_arrays_that_an_initrd_forgot_are_seen() -> None:
    host = Xcp()
    host.inside = ["4.19.0+1"]
    with pytest.raises(Unproven, match=r"the initrd has mdadm.conf, as the host has arrays: expected True"):
        do(host)
    host = Xcp()
    host.inside, host.arrays = ["4.19.0+1"], ""
    assert do(host).result == "applied"


def test_the_coordinator_comes_first_and_what_would_go_away_stays() -> None:
    host = Xcp(coordinator=False)
    with pytest.raises(Refused, match="coordinator-first"):
        do(host)
    host.builds[FIRST] = "24.19.3"
    assert do(host).result == "applied"
    other = Xcp(coordinator=False)
    del other.pending["xapi-core"]
    assert do(other).result == "applied"
    for more, code in (("gone sm", "removes"), ("unfinished transaction-12", "unfinished"), ("room 20", "no-room")):
        host = Xcp()
        host.more = more
        with pytest.raises(Refused, match=code):
            do(host)
        assert host.changes == []
