"""Upgrades that were stopped half way, and hosts that changed since: whatever starts the host, it starts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from builder.errors import LabError, TimedOut
from builder.procedures import load_procedure
from builder.procedures.boot import GRUB_CFG
from builder.procedures.errors import Failed, Refused
from builder.procedures.grubcfg import default_of, entry_of
from builder.procedures.host_update import DROP_IN, SCRIPT
from builder.procedures.update_families import YUM_LOOK
from builder.procedures.xen_upgrade import ENTRY, FAMILIES, FILE
from tests.unit.procedures import test_host_update as debian
from tests.unit.procedures import test_update_rpm as rpm
from tests.unit.procedures import test_xen_upgrade as xen
from tests.unit.procedures.test_update_rpm import told


def lose_after_restart(host: Any) -> None:
    """The host restarts, and is not reached any more when it should be told that it did."""
    start = host.on_reboot

    def lost() -> None:
        start()
        host.on_reboot = start
        raise TimedOut("another boot id after a reboot", seconds=240, node="dom0")

    host.on_reboot = lost


@pytest.mark.parametrize("made", [debian.Debian, rpm.Suse])
def test_an_undo_whose_restart_was_not_seen_is_ended_by_the_next(made: type[Any]) -> None:
    host = made()
    old = host.running
    debian.do(host)
    lose_after_restart(host)
    with pytest.raises(Failed):
        debian.undo(host)
    assert host.running == old
    assert debian.undo(host).result == "undone"
    host.reboot(wait=1)
    assert host.running == old


def test_an_update_that_fails_on_a_host_that_had_been_brought_back_leaves_it_so() -> None:
    host = debian.Debian()
    debian.do(host)
    debian.undo(host)
    host.fails = True
    with pytest.raises(Failed):
        debian.do(host)
    assert DROP_IN not in host.files
    assert debian.undo(host).result == "undone" and DROP_IN in host.files and SCRIPT in host.files
    host.reboot(wait=1)
    assert host.running == debian.OLD


def test_a_kernel_that_is_gone_is_not_made_what_boots_by_itself() -> None:
    """`apt-get autoremove` takes all but the last ones."""
    host = debian.Debian()
    debian.do(host)
    host.kernels = [debian.NEW]
    menu = host.files[GRUB_CFG]
    with pytest.raises(LabError, match=f"{debian.OLD}, is not in /boot any more"):
        debian.undo(host)
    assert host.files[GRUB_CFG] == menu and DROP_IN not in host.files


@pytest.fixture(params=["debian", "suse"])
def host(request: pytest.FixtureRequest) -> xen.Host:
    return xen.Host(request.param)


def test_while_an_upgrade_is_undone_the_host_can_be_started_at_any_time(host: xen.Host) -> None:
    host.breaks = xen.NEW
    with pytest.raises(Failed):
        xen.do(host)
    host.pull_the_plug()
    dead: list[str] = []
    answer = host._answer

    def watched(argv: Sequence[str], line: str) -> tuple[int, str]:
        said = answer(argv, line)
        config = host.files[host.config].decode()
        chosen = default_of(config) or host.environment["saved_entry"]
        started = re.findall(r"multiboot2\s+/boot/(\S+)", entry_of(config, chosen))
        if not started or started[0] not in host.kernels:
            dead.append(line)
        return said

    host._answer = watched  # type: ignore[method-assign]
    assert xen.undo(host).result == "undone" and dead == []
    assert FILE not in host.kernels


@pytest.mark.parametrize("back", [False, True])
def test_the_entry_to_fall_back_to_has_the_kernel_of_now(
    host: xen.Host, monkeypatch: pytest.MonkeyPatch, back: bool
) -> None:
    """The kernel that the first upgrade was made with is gone by the second one, or when it is undone."""
    xen.do(host)
    monkeypatch.setattr(xen, "MENU", xen.MENU.replace("vmlinuz-6.12", "vmlinuz-6.13"))
    host._update(())
    host.offered = [xen.NEW] if back else [xen.NEWER, xen.NEW]
    (xen.undo if back else xen.do)(host)
    entry = entry_of(host.files[host.config].decode(), ENTRY)
    assert "/boot/vmlinuz-6.13 " in entry and f"/boot/{FILE} " in entry and "vmlinuz-6.12" not in entry


def test_packages_of_another_series_stay_as_they_are() -> None:
    """Debian 12 upgraded from 11: the hypervisor and the tools before stand beside the new ones."""
    host = xen.Host()
    shell = host._shell
    more = "pkg xen-hypervisor-4.14-amd64 4.14.6-1\npkg xen-utils-4.14 4.14.6-1\nown xen-hypervisor-4.20-amd64\n"

    def told_too(argv: Sequence[str]) -> str | int:
        said = shell(argv)
        return more + said if isinstance(said, str) and said.startswith("pkg") else said

    host.answers["sh -c"] = told_too
    assert xen.do(host).result == "applied" and host.running == xen.NEW
    assert xen.undo(host).result == "undone" and host.running == xen.OLD


def test_which_package_the_hypervisor_is_of(tmp_path: Path) -> None:
    """In the formats of dpkg-query(1), apt-cache(8)."""
    query = (
        'case "$1" in -W) printf "ii  xen xen-hypervisor-4.17-amd64 4.17.5\\nrc  xen xen-utils-4.14 4.14.6\\n'
        'ii  glibc libc6 2.36\\n" ;; -S) echo "xen-hypervisor-4.17-amd64: $2" ;; esac'
    )
    script = FAMILIES["debian"].ask
    assert told(tmp_path, script, "xen-4.17-amd64.gz", dpkg_query=query, apt_cache=":") == [
        "pkg xen-hypervisor-4.17-amd64 4.17.5", "own xen-hypervisor-4.17-amd64",
    ]  # fmt: skip


def test_a_default_that_set_default_does_not_change_is_a_reason_against_it() -> None:
    host = xen.Host("suse")
    host.files[host.config] = f'   set default="{xen.XEN}"\n{xen.MENU}'.encode()
    with pytest.raises(Refused) as caught:
        xen.do(host)
    assert [refusal.code for refusal in caught.value.refusals] == ["default-fixed"] and host.changes == []
    assert "default-fixed" in load_procedure("xen-upgrade").refuses


def test_an_xcp_ng_host_that_was_not_restarted_after_yum_is_by_the_next_run() -> None:
    """Its kernels keep their name, so nothing but the time says that the old one runs."""
    host = rpm.Xcp()

    def update() -> str:
        host.pending, host.more = {}, "since kernel\nsince xapi-core"
        return ""

    def start() -> None:
        host.more = ""

    host._update = update  # type: ignore[method-assign]
    host.on_reboot = lambda: (_ for _ in ()).throw(TimedOut("ssh", seconds=1, node="dom0"))
    with pytest.raises(Failed):
        rpm.do(host)
    host.on_reboot = start
    done = rpm.do(host)
    assert (done.result, done.rebooted) == ("applied", True)
    assert rpm.do(host).result == "unchanged"


def test_what_rpm_says_of_times_is_read(tmp_path: Path) -> None:
    """rpm(8), --queryformat; the kernel's btime is in the past for as long as this machine runs."""
    script = YUM_LOOK.partition("ls /boot")[0]
    said = "1100000000 kernel\npackage xen-hypervisor is not installed\n4000000000 xapi-core"
    assert told(tmp_path, script, yum=":", rpm=f'echo "{said}"') == ["since xapi-core"]
