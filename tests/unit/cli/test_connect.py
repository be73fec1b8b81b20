"""`--connect`: what `up` takes, and what it refuses before anything is read, built or sent."""

from __future__ import annotations

import pytest

from builder.cli.boundary import guarded


@pytest.mark.parametrize(
    "uri", ["qemu+tls://l0/system", "xen:///system", "qemu+ssh://l0/other", "qemu+ssh://l0/system?no_verify=1"]
)
def test_what_no_lab_can_run_by_is_refused(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(["up", "no-such-lab.yaml", "--connect", uri]) == 2
    told = capsys.readouterr().err
    assert uri in told and "qemu+ssh://[USER@]HOST" in told and "export LAB --to libvirt" in told


def test_the_environment_is_asked_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", "qemu+tcp://l0/system")
    assert guarded(["up", "no-such-lab.yaml"]) == 2
    assert "by ssh alone" in capsys.readouterr().err


@pytest.mark.parametrize(
    "uri", ["qemu:///system", "qemu:///session", "qemu:///embed?root=/tmp/x", "qemu+ssh://a@l0:22/system"]
)
def test_this_machine_and_one_by_ssh_are_taken(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(["up", "no-such-lab.yaml", "--connect", uri]) == 2
    told = capsys.readouterr().err
    assert "no-such-lab.yaml" in told and uri not in told
