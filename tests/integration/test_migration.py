"""What goes over the way between two hosts, with real files, a real shell and a real ssh where a key is needed."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from builder.procedures import guest_migrate, migration
from builder.procedures.api import Action, Hand, Run, Write
from builder.procedures.migration import Asked, Link, disks_of
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
    assert disk.stat().st_mode & 0o777 == 0o600  # whatever a guest has on it is nobody else's
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
    here.chmod(0o640)
    assert go(link.get(str(here))) == 0 and here.read_bytes() == b"changed there"
    assert here.stat().st_mode & 0o777 == 0o640
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


def test_a_key_whose_line_has_no_end_stays_when_the_way_is_closed(tmp_path: Path) -> None:
    """As `echo -n` or an editor leaves it: the key that is let in must not become part of its line."""
    keys = tmp_path / "ssh/authorized_keys"
    keys.parent.mkdir()
    (tmp_path / "elsewhere").write_text("ssh-ed25519 AAAA mine")
    keys.symlink_to(tmp_path / "elsewhere")
    script = migration._AUTHORIZE.replace("/root/.ssh", str(keys.parent))
    subprocess.run(["sh", "-c", script, "sh", "10.20.0.1"], check=True, input=b"ssh-ed25519 BBBB key\n")
    assert [line.split()[-1] for line in keys.read_text().splitlines()] == ["mine", migration.MARK]
    close = migration._CLOSE.replace("/root/.ssh", str(keys.parent)).replace(migration.FOLDER, str(tmp_path / "gone"))
    subprocess.run(["sh", "-c", close], check=True)
    assert keys.read_text() == "ssh-ed25519 AAAA mine\n" and keys.is_symlink()


def test_disks_are_told_apart(tmp_path: Path) -> None:
    image = tmp_path / "a.img"
    image.write_bytes(b"12345")
    found = disks_of(LocalHost(), [str(image), str(tmp_path / "none.img"), "/nowhere/none.img"])
    assert (found[0].kind, found[0].size) == ("file", 5)
    assert found[0].mark not in ("", *migration.NETWORK_FILES)
    assert found[1].kind == "absent" and found[1].size > 1 << 20
    assert (found[2].kind, found[2].size) == ("absent", 0)


# Both hosts are this machine, in a network and with folders of its own; xl is a program that says what it was asked,
# and calls its counterpart as the real one does. sshd, keys and the gate are real.
_WORLD = """\
set -e
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=0700 tmpfs /root
mount -t tmpfs -o mode=0755 tmpfs /run
mount -t tmpfs -o mode=0755 tmpfs /var/lib
mkdir /run/sshd
ip link set dev lo up
ip address add 10.20.0.2/24 dev lo
ssh-keygen -q -t ed25519 -N '' -f "$2/ssh_host_ed25519_key"
mount --bind "$2/ssh_host_ed25519_key.pub" /etc/ssh/ssh_host_ed25519_key.pub
/usr/sbin/sshd -f "$2/sshd_config" -E "$2/sshd.log"
PATH=$2:$PATH
export PATH
. "$1"
"""
_XL = """\
#!/bin/sh
echo "xl $*" >>"${0%/*}/said"
case "$1" in
domid) echo 7 ;;
migrate-receive) cat >"${0%/*}/received" ;;
migrate) echo memory | sh -c "exec $3 $5 xl migrate-receive" ;;
esac
"""


def script(*actions: Action) -> str:
    """The actions as one script, as the engine does them."""
    lines = []
    for action in actions:
        if isinstance(action, Write):
            lines.append(
                f"printf %s {shlex.quote(action.content)} >{action.path}; chmod {action.mode or 0o644:o} {action.path}"
            )
        elif isinstance(action, Hand):
            lines.append(f"{shlex.join(action.take)} | {shlex.join(action.give)}")
        else:
            assert isinstance(action, Run)
            lines.append(shlex.join(action.argv))
    return "".join(f"{line}\n" for line in lines)


def test_a_guest_goes_by_a_real_ssh_and_the_way_is_closed_behind_it(tmp_path: Path) -> None:
    link = Link("", "beta", "10.20.0.2", "10.20.0.2")
    asked = Asked(guest="web", to="beta")
    (tmp_path / "sshd_config").write_text(
        f"HostKey {tmp_path}/ssh_host_ed25519_key\nListenAddress 10.20.0.2\nPidFile none\nUsePAM no\n"
        f"AuthenticationMethods publickey\nPermitRootLogin prohibit-password\nSetEnv PATH={tmp_path}:/usr/bin:/bin\n"
    )
    for name, text in (("xl", _XL), ("xenstore-read", "#!/bin/sh\necho /vm/uuid\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    other = f"{link.ssh} 10.20.0.2 cat /etc/hostname || echo refused=$?\n"
    after = (
        f"{link.ssh} 10.20.0.2 xl migrate-receive </dev/null || echo closed=$?\nls {migration.FOLDER} || echo gone\n"
    )
    steps = tmp_path / "steps.sh"
    steps.write_text(script(*link.open(), guest_migrate._migrate(link, asked, node="")) + other + script(*link.close())
                     + f"cat {guest_migrate.RESULT}-web\n" + after)  # fmt: skip
    words = [
        "unshare",
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--mount-proc",
        "sh",
        "-c",
        _WORLD,
        "sh",
        str(steps),
        str(tmp_path),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}{(tmp_path / 'sshd.log').read_text()}"
    assert (tmp_path / "received").read_text() == "memory\n"
    said = (tmp_path / "said").read_text().splitlines()
    assert said == ["xl domid web", f"xl migrate -s {link.ssh} web 10.20.0.2", "xl migrate-receive"]
    assert done.stdout.splitlines() == ["refused=126", "/vm/uuid", "closed=255", "gone"]
