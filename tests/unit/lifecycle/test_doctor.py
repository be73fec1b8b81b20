"""Doctor on hosts made of files.

A fake, for what cannot be provoked here: Intel and AMD CPUs, modules that are not loaded, a full disk, a foreign
user. tests/integration/test_doctor_here.py looks at the real host.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from builder.images.disk import TOOLS as BUILD_TOOLS
from builder.lifecycle import doctor_kvm, doctor_room, doctor_tools
from builder.lifecycle.doctor import CHECKS, Check, Row, lacks, row
from builder.lifecycle.doctor_ground import Ground, Needs, Status, connection_of
from builder.paths import Places
from tests.unit.lifecycle.fake_host import GIB, GONE, host

EVERYTHING = Needs(uefi=True, builds_disk=True, builds_initramfs=True, connection="system")


def look(name: str, ground: Ground, needs: Needs = EVERYTHING) -> Row:
    (check,) = [check for check in CHECKS if check.name == name]
    return row(check, ground, needs)


# `storage access` looks at the real folders above, and has a test of its own.
@pytest.mark.parametrize(
    "check", [c for c in CHECKS if c.look is not doctor_room.storage_access], ids=lambda check: check.name
)
def test_a_sound_host_is_sound(check: Check, tmp_path: Path) -> None:
    for folder in (tmp_path / "state", tmp_path / "cache"):
        folder.mkdir()
    found = row(check, host(tmp_path), EVERYTHING)
    assert (found.status, found.fix) == ("ok", ""), found
    assert found.why
    assert found.seen


def test_names_are_unique() -> None:
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)


def test_without_systemd_the_daemons_are_started_by_hand(tmp_path: Path) -> None:
    ground = host(tmp_path, {"/run/libvirt/libvirt-sock": GONE}, euid=0)
    ground.path("/run/systemd/system").rmdir()
    assert look("libvirt daemon", ground).fix == "virtlogd -d && libvirtd -d"


def test_a_kvm_device_of_root_alone_is_given_to_the_group_first(tmp_path: Path) -> None:
    ground = host(tmp_path, usable=False, euid=1000)
    ground.path("/dev/kvm").chmod(0o600)
    first, second = look("kvm device", ground).fix.splitlines()
    assert first == "sudo sh -c 'chgrp kvm /dev/kvm && chmod 0660 /dev/kvm'"
    assert second.startswith("sudo usermod -aG kvm kim")


def test_memory_is_what_is_left_for_this_lab(tmp_path: Path) -> None:
    ground = host(tmp_path)
    assert look("memory", ground, Needs(memory=15 * GIB)).status == "ok"
    short = look("memory", ground, Needs(memory=17 * GIB))
    assert (short.status, short.seen) == ("missing", "16.0 GiB available, the lab takes 17.0 GiB")
    assert look("memory", ground, Needs(memory=17 * GIB, running=True)).status == "ok"


@pytest.mark.parametrize(
    ("limit", "used"),
    [("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
     ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes")],
)  # fmt: skip
def test_a_container_s_memory_limit_counts(limit: str, used: str, tmp_path: Path) -> None:
    ground = host(tmp_path, {limit: str(4 * GIB), used: str(1 * GIB)})
    assert doctor_room.available_memory(ground) == 3 * GIB
    assert look("memory", ground, Needs(memory=4 * GIB)).status == "missing"


def test_no_limit_is_no_limit(tmp_path: Path) -> None:
    ground = host(tmp_path, {"/sys/fs/cgroup/memory.max": "max", "/sys/fs/cgroup/memory.current": "1"})
    assert doctor_room.available_memory(ground) == 16 * GIB


def test_state_and_cache_on_one_file_system_share_its_room(tmp_path: Path) -> None:
    needs = Needs(footprint=4 * GIB, build_space=6 * GIB)
    assert look("disk space", host(tmp_path, free=11 * GIB), needs).status == "ok"
    short = look("disk space", host(tmp_path, free=9 * GIB), needs)
    assert (short.status, short.fix) == ("missing", "export NESTLAB_STATE=/a/folder/with/room")
    assert look("disk space", host(tmp_path, free=4 * GIB), Needs()).status == "warn"


def test_many_cores_for_one_node_are_slow(tmp_path: Path) -> None:
    assert look("cores", host(tmp_path), Needs(cpus=4)).status == "ok"
    assert look("cores", host(tmp_path), Needs(cpus=5)).status == "warn"


def test_a_long_runtime_folder_is_refused(tmp_path: Path) -> None:
    def at(runtime: Path) -> Row:
        places = Places(tmp_path, tmp_path, runtime)
        return look("runtime folder", host(tmp_path, places=places))

    longest = Path("/tmp/" + "x" * 24)
    assert at(longest).status == "ok", "29 bytes, and 11 below it"
    assert len(str(longest / "12345678" / "l")) == doctor_room.LONGEST_ROOT
    assert at(Path(f"{longest}y")).status == "missing"


def test_somebody_else_s_runtime_folder_is_refused(tmp_path: Path) -> None:
    short = Path(f"/tmp/nl-doctor-{os.getpid()}")
    short.mkdir()
    try:
        places = Places(tmp_path, tmp_path, short)
        assert look("runtime folder", host(tmp_path, places=places)).status == "ok"
        theirs = look("runtime folder", host(tmp_path, places=places, euid=os.geteuid() + 1))
        assert (theirs.status, theirs.seen) == ("missing", f"{short} belongs to user {os.geteuid()}")
    finally:
        short.rmdir()


def test_a_session_that_ends_takes_the_runtime_folder_along(tmp_path: Path) -> None:
    places = Places(tmp_path, tmp_path, Path("/run/user/1000/nestlab"))
    assert look("lingering", host(tmp_path, places=places)).fix == "loginctl enable-linger kim"
    assert look("lingering", host(tmp_path, {"/var/lib/systemd/linger/kim": ""}, places=places)).status == "ok"


def test_storage_must_be_passable_for_qemu_s_user(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "state").mkdir(parents=True)
    for folder in (closed / "state", *closed.parents):
        if folder != Path(tempfile.gettempdir()) and folder.is_relative_to(tempfile.gettempdir()):
            folder.chmod(folder.stat().st_mode | 0o001)
    places = Places(closed / "state", closed / "cache", Path("/tmp/nl"))
    closed.chmod(0o701)
    assert look("storage access", host(tmp_path, places=places)).status == "ok"
    closed.chmod(0o700)
    found = look("storage access", host(tmp_path, places=places, euid=0))
    assert (found.status, found.fix.splitlines()[0]) == ("missing", f"chmod o+x {closed}")


def test_labs_without_a_keeper_are_named(tmp_path: Path) -> None:
    (tmp_path / "state/labs/lost").mkdir(parents=True)
    (tmp_path / "state/labs/lost/lock").touch()
    found = look("dead labs", host(tmp_path))
    assert (found.status, found.fix) == ("warn", "nestlab reap")
    assert "lost" in found.seen


def test_every_tool_of_a_build_is_looked_for() -> None:
    known = {(program, tool.package) for tool in doctor_tools.TOOLS for program in tool.programs}
    assert set(BUILD_TOOLS) - {("sudo", "sudo")} <= known


def test_rows_that_do_not_matter_are_left_out() -> None:
    def names(needs: Needs) -> set[str]:
        return {check.name for check in CHECKS if check.when(needs)}

    plain = names(Needs())
    assert {"python", "qemu", "memory", "kvm device"} <= plain
    assert not plain & {"ovmf", "mmdebstrap", "apt", "root", "loop device", "tun device", "libvirt daemon"}
    assert names(Needs(uefi=True)) - plain == {"ovmf"}
    assert names(Needs(builds_initramfs=True)) - plain == {"apt", "dpkg", "package sources"}
    assert {"mmdebstrap", "root", "loop device", "archive keyring"} <= names(Needs(builds_disk=True))
    assert "libvirt QEMU driver" not in names(Needs(connection="system"))
    assert {"libvirt daemon", "tun device"} <= names(Needs(connection="system"))
    assert not names(Needs(connection="remote")) & {"qemu", "memory", "kvm device"}


@pytest.mark.parametrize(
    ("uri", "kind"),
    [(None, "embed"), ("qemu:///embed?root=/x", "embed"), ("qemu:///system", "system"), ("qemu:///session", "session"),
     ("qemu+ssh://host/system", "remote")],
)  # fmt: skip
def test_connections(uri: str | None, kind: str) -> None:
    assert connection_of(uri) == kind


def test_what_is_missing_is_what_counts() -> None:
    statuses: tuple[Status, ...] = ("ok", "warn", "missing", "unknown")
    rows = tuple(Row(status, status, "", "", "") for status in statuses)
    assert [found.name for found in lacks(rows)] == ["missing"]


def test_cpu_flags_are_words(tmp_path: Path) -> None:
    assert doctor_kvm.cpu_flag(host(tmp_path, {"/proc/cpuinfo": "flags : vmxx asvm\n"})) is None
