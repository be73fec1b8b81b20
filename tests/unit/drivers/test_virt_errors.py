"""libvirt's words, as met on real machines, and what we say to them."""

from __future__ import annotations

import sys

import pytest

from builder.drivers.virt_errors import DomainError, explain, import_libvirt
from builder.errors import HostLacks


@pytest.mark.parametrize(
    ("said", "hint", "exit_code"),
    [
        ("Failed to connect socket to '/var/run/libvirt/libvirt-sock': No such file", "libvirtd -d", 3),
        ("Failed to connect socket to '/run/libvirt/virtlogd-sock': No such file", "start virtlogd", 3),
        ("invalid argument: Failed to parse user 'libvirt-qemu'", "libvirt-daemon-system", 3),
        ("Cannot access storage file '/root/x.qcow2' (as uid:64055, gid:64055): Permission denied", "o+x", 1),
        ("qemu-system-x86_64: error reading initrd /root/i: Permission denied", "o+x", 1),
        ("Failed to get \"write\" lock\nIs another process using the image [/x.qcow2]?", "nestlab down", 1),
        ("cannot set up guest memory 'pc.ram': Cannot allocate memory", "free memory", 3),
        ("Emulator '/usr/bin/qemu-system-x86_64' does not support machine type 'pc-i440fx-9.0'", "boot anew", 1),
        ("the accel 'kvm' is not supported by '/usr/bin/qemu-system-x86_64' on this host", "doctor", 3),
        ("Cannot open embedded driver at path '/a', already open with path '/b'", "one root", 1),
        ("Failed to acquire pid file '/a/run/qemu/driver.pid': Resource temporarily unavailable", "nestlab ls", 1),
        ("operation failed: domain 'n1' already exists with uuid 1", "nestlab reap", 1),
        ("Could not set up host forwarding rule 'tcp:127.0.0.1:20000-:22'", "port is taken", 1),
    ],
)  # fmt: skip
def test_known_trouble_has_its_cure(said: str, hint: str, exit_code: int) -> None:
    error = explain(Exception(said), "cannot be started", node="n1")
    assert hint in (error.hint or "")
    assert error.exit_code == exit_code
    assert error.message.startswith("n1: cannot be started: ")
    assert "\n" not in error.message


def test_unknown_trouble_is_told_as_it_is() -> None:
    error = explain(Exception("something\n new"), "cannot be started")
    assert isinstance(error, DomainError)
    assert (error.message, error.hint) == ("cannot be started: something new", None)


def test_without_the_binding_the_line_that_installs_it_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "libvirt", None)
    with pytest.raises(HostLacks, match="binding of libvirt") as caught:
        import_libvirt()
    assert "libvirt-dev" in str(caught.value.hint)
