"""What goes over the way between two hosts, with real files, a real shell and a real ssh where a key is needed."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from builder.procedures import migration
from builder.procedures.migration import Link, disks_of
from tests.support.local_host import LocalHost

pytestmark = pytest.mark.integration


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    path = tmp_path / "gate"
    disks = (str(tmp_path / "web disk.img"), str(tmp_path / "there.img"))
    path.write_text(Link("", "beta", "10.20.0.2", "10.20.0.1", disks).gate)
    path.chmod(0o755)
    return path


def ask(gate: Path, command: str, stdin: bytes = b"") -> tuple[int, bytes]:
    """As sshd runs it, whatever the other side asked for."""
    done = subprocess.run([gate], input=stdin, env={**os.environ, "SSH_ORIGINAL_COMMAND": command}, check=False,
                          capture_output=True)  # fmt: skip
    return done.returncode, done.stdout


def test_the_key_opens_nothing_but_this(gate: Path, tmp_path: Path) -> None:
    disk, data = tmp_path / "web disk.img", os.urandom(3 << 20) + bytes(1 << 20)
    assert ask(gate, f"put {disk}", data) == (0, b"")
    assert disk.read_bytes() == data and disk.stat().st_blocks * 512 < len(data)  # the zeroes take no room
    assert ask(gate, f"put {disk}", b"other")[0] == 126
    assert disk.read_bytes() == data
    assert ask(gate, f"get {disk}") == (0, data)
    assert ask(gate, f"sum {disk}")[0] == 0
    for command in ("", "sh", "xl list", "xl migrate-receive; id", "get /etc/passwd", f"rm {disk}", f"put {disk}2",
                    "get migrate-receive", f"get {disk} /etc/passwd"):  # fmt: skip
        assert ask(gate, command) == (126, b"")


def test_a_file_goes_there_and_back_and_a_wrong_copy_is_noticed(gate: Path, tmp_path: Path) -> None:
    """`ssh` here is a program that runs the gate: what the shells on both sides do is real."""
    here, there = tmp_path / "here.img", tmp_path / "there.img"
    here.write_bytes(os.urandom(1 << 20))
    ssh = tmp_path / "ssh"
    ssh.write_text(f'#!/bin/sh\nshift $(($# - 1))\nset -- $1\nSSH_ORIGINAL_COMMAND="$1 {there}" exec {gate}\n')
    ssh.chmod(0o755)
    link = Link("", "beta", "10.20.0.2", "10.20.0.1")

    def go(action: object) -> int:
        words = shlex.split(str(action))
        done = subprocess.run(words, env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}, check=False,
                              capture_output=True)  # fmt: skip
        return done.returncode

    assert go(link.put(str(here))) == 0 and there.read_bytes() == here.read_bytes()
    there.write_bytes(b"changed there")
    assert go(link.get(str(here))) == 0 and here.read_bytes() == b"changed there"
    assert go(link.put(str(here))) != 0  # it is there
    there.unlink()
    gate.write_text(gate.read_text().replace("conv=sparse,excl", "conv=sparse,excl count=0"))
    assert go(link.put(str(here))) != 0


def test_without_disks_the_key_is_for_xl_alone(gate: Path) -> None:
    gate.write_text(Link("", "beta", "10.20.0.2", "10.20.0.1").gate)
    assert [ask(gate, command)[0] for command in ("get /etc/passwd", "get ", "put /tmp/x", "sum /etc/passwd")] == [
        126
    ] * 4
    subprocess.run(["shellcheck", gate], check=True)


def test_one_line_lets_one_key_in_from_one_address_and_goes_again(tmp_path: Path) -> None:
    keys = tmp_path / "ssh/authorized_keys"
    keys.parent.mkdir()
    keys.write_text("ssh-ed25519 AAAA mine\n")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    script = migration._AUTHORIZE.replace("/root/.ssh", str(keys.parent))
    for _ in range(2):
        subprocess.run(["sh", "-c", script, "sh", "10.20.0.1"], check=True, input=(tmp_path / "key.pub").read_bytes())
    lines = keys.read_text().splitlines()
    assert lines[0] == "ssh-ed25519 AAAA mine" and len(lines) == 2
    assert lines[1].startswith(f'from="10.20.0.1",restrict,command="{migration.GATE}" ssh-ed25519 ')
    judged = subprocess.run(["ssh-keygen", "-l", "-f", keys], capture_output=True, text=True, check=False).stdout
    assert migration.MARK in judged  # OpenSSH reads the line, its options too
    assert migration.is_open(keys.read_text(), folder=False)
    close = migration._CLOSE.replace("/root/.ssh", str(keys.parent)).replace(migration.FOLDER, str(tmp_path / "gone"))
    subprocess.run(["sh", "-c", close], check=True)
    assert keys.read_text() == "ssh-ed25519 AAAA mine\n" and not migration.is_open(keys.read_text(), folder=False)


def test_disks_are_told_apart(tmp_path: Path) -> None:
    image = tmp_path / "a.img"
    image.write_bytes(b"12345")
    found = disks_of(LocalHost(), [str(image), str(tmp_path / "none.img"), "/nowhere/none.img"])
    assert (found[0].kind, found[0].size) == ("file", 5)
    assert found[0].mark not in ("", *migration.NETWORK_FILES)
    assert found[1].kind == "absent" and found[1].size > 1 << 20
    assert (found[2].kind, found[2].size) == ("absent", 0)
