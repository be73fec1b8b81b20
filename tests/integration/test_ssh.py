"""The ssh driver against a real OpenSSH server, and against a tiny guest where something has to reboot."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from builder.drivers.ports import PortTable
from builder.drivers.ssh import LabKeys, close_master, generate_keys, open_master, ssh_argv, ssh_config, wait_banner
from builder.drivers.ssh_host import SshHost
from builder.drivers.virt import Libvirt
from builder.errors import LabError, TimedOut
from builder.images.store import Image
from builder.lifecycle.session import Session
from builder.model.host import Host
from builder.model.runtime import SshTarget
from builder.secrets import Secret
from tests.support.guests import guest
from tests.support.kvm_cases import node

pytestmark = pytest.mark.integration

SSHD_CONFIG = """\
ListenAddress 127.0.0.1:{port}
HostKey {keys.host_key}
AuthorizedKeysFile {keys.identity_public}
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
"""


@dataclass(frozen=True, slots=True)
class Server:
    target: SshTarget
    keys: LabKeys
    folder: Path

    def host(self) -> SshHost:
        return SshHost("here", self.target, secrets=[Secret("hunter2")])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """An sshd of this machine, with keys of ours, that lets in the user who runs the tests."""
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/bin")
    assert sshd, "apt-get install openssh-server"
    Path("/run/sshd").mkdir(exist_ok=True)  # where sshd drops its rights, as root
    keys = generate_keys(tmp_path / "keys of n1", "demo-n1")
    with PortTable() as table:
        (port,) = table.claim(1)
        (tmp_path / "sshd_config").write_text(SSHD_CONFIG.format(port=port, keys=_Quoted(keys)))
        process = subprocess.Popen(
            [sshd, "-D", "-e", "-f", tmp_path / "sshd_config"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        target = SshTarget(
            host="127.0.0.1",
            port=port,
            user=pwd.getpwuid(os.geteuid()).pw_name,
            identity_file=str(keys.identity),
            known_hosts=str(keys.known_hosts),
            control_path=str(tmp_path / "m"),
            host_key_alias="demo-n1",
        )
        try:
            wait_banner(target, time.monotonic() + 10)
            yield Server(target, keys, tmp_path)
        finally:
            close_master(target)
            process.terminate()
            process.wait(5)


class _Quoted:
    """Paths in double quotes, as sshd_config wants those with blanks."""

    def __init__(self, keys: LabKeys) -> None:
        self.host_key = f'"{keys.host_key}"'
        self.identity_public = f'"{keys.identity_public}"'


def test_a_command_gets_words_and_input_and_gives_status_and_both_outputs(server: Server) -> None:
    host: Host = server.host()
    done = host.run(
        ["sh", "-c", 'printf "%s|" "$@"; cat; echo err >&2; exit 37', "sh", "a b", "", "$HOME", "'"], stdin=b"in\n"
    )
    assert (done.returncode, done.stdout, done.stderr, done.ok) == (37, "a b||$HOME|'|in\n", "err\n", False)
    assert host.run(["true"]).ok


def test_files_arrive_whole_with_their_mode_and_all_bytes(server: Server) -> None:
    host, path = server.host(), server.folder / "a file"
    content = bytes(range(256)) * 5000
    host.write(str(path), content, mode=0o640)
    assert path.read_bytes() == content == host.read(str(path))
    assert path.stat().st_mode & 0o777 == 0o640
    host.write(str(path), b"")
    assert host.read(str(path)) == b""
    with pytest.raises(LabError, match=r"here: cannot read .*No such file"):
        host.read("/no/such/file")
    with pytest.raises(LabError, match="here: cannot write"):
        host.write("/no/such/folder/file", b"x")
    assert sorted(p.name for p in server.folder.glob("*nestlab-new")) == []


def test_a_file_behind_a_link_is_written_and_the_link_stays(server: Server) -> None:
    """Distributions keep settings behind links, of grub and multipath among them: a file in a link's place would be
    read by one half of the tools, and no undo would bring the link back."""
    host, folder = server.host(), server.folder
    (folder / "etc").mkdir()
    (folder / "etc/real file").write_text("before")
    (folder / "link").symlink_to("etc/real file")
    (folder / "new").symlink_to("etc/not yet")
    (folder / "lost").symlink_to("nowhere/at all")
    host.write(str(folder / "link"), b"after", mode=0o640)
    host.write(str(folder / "new"), b"made")
    assert (folder / "link").is_symlink() and (folder / "new").is_symlink()
    assert (folder / "etc/real file").read_text() == "after" and (folder / "etc/not yet").read_text() == "made"
    assert (folder / "etc/real file").stat().st_mode & 0o777 == 0o640
    with pytest.raises(LabError, match=r"here: cannot write .*lost: .*leads nowhere"):
        host.write(str(folder / "lost"), b"x")
    assert (folder / "lost").is_symlink()


def test_a_command_that_takes_too_long(server: Server) -> None:
    began = time.monotonic()
    with pytest.raises(TimedOut, match="here: waited 1 s for the end of 'sleep 30'"):
        server.host().run(["sleep", "30"], timeout=1)
    assert time.monotonic() - began < 4


def test_a_server_with_another_host_key_is_not_talked_to(server: Server, tmp_path: Path) -> None:
    other = generate_keys(tmp_path / "other", "demo-n1")
    wrong = server.target.model_copy(update={"known_hosts": str(other.known_hosts)})
    with pytest.raises(LabError, match=r"here: ssh failed: .*Host key verification failed"):
        SshHost("here", wrong).run(["true"])


def test_a_key_of_somebody_else_is_refused(server: Server, tmp_path: Path) -> None:
    other = generate_keys(tmp_path / "other", "demo-n1")
    wrong = server.target.model_copy(update={"identity_file": str(other.identity)})
    with pytest.raises(LabError, match="Permission denied") as caught:
        SshHost("here", wrong).run(["true"])
    assert caught.value.hint
    with pytest.raises(LabError, match="Permission denied"):
        open_master(wrong)


def test_nobody_there(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    gone = server.target.model_copy(update={"port": port})
    with pytest.raises(LabError, match="refused"):
        SshHost("here", gone).run(["true"])


def test_the_transcript_tells_everything_but_secrets(server: Server) -> None:
    host = server.host()
    host.run(["echo", "the password is hunter2"])
    host.run(["false"])
    assert [(entry.argv[-1], entry.returncode) for entry in host.transcript()] == [
        ("the password is ***", 0),
        ("false", 1),
    ]
    assert host.transcript()[0].stdout == "the password is ***\n"
    with pytest.raises(TimedOut) as caught:
        host.run(["sh", "-c", "sleep 9; echo hunter2"], timeout=0.5)
    assert "hunter2" not in str(caught.value) + str(host.transcript())


def test_over_a_shared_connection_no_new_one_is_made(server: Server) -> None:
    master = open_master(server.target)
    try:
        gone = server.target.model_copy(update={"port": 1})  # only the shared connection leads anywhere
        assert SshHost("here", gone).run(["echo", "shared"]).stdout == "shared\n"
        many = [SshHost("here", server.target) for _ in range(12)]  # sshd allows ten sessions on one connection
        results: list[bool] = []
        threads = [threading.Thread(target=lambda h=h: results.append(h.run(["sleep", "0.5"]).ok)) for h in many]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [True] * 12
        assert master.poll() is None
    finally:
        close_master(server.target)
    master.wait(5)
    assert not Path(str(server.target.control_path)).exists()
    assert SshHost("here", server.target).run(["echo", "direct"]).stdout == "direct\n"
    close_master(server.target)  # twice is fine


def test_a_connection_that_gets_lost_on_its_way_is_tried_again(server: Server) -> None:
    """A door before the server that closes the first connection before a word is said, as a busy node's may."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        came: list[int] = []

        def keep() -> None:
            while True:
                try:
                    one, _ = door.accept()
                except OSError:
                    return
                came.append(1)
                if len(came) == 1:
                    one.close()
                    continue
                other = socket.create_connection(("127.0.0.1", server.target.port))
                for source, sink in ((one, other), (other, one)):
                    threading.Thread(target=pass_on, args=(source, sink), daemon=True).start()

        threading.Thread(target=keep, daemon=True).start()
        target = server.target.model_copy(update={"port": door.getsockname()[1]})
        master = open_master(target, timeout=30)
        assert SshHost("here", target.model_copy(update={"port": 1})).run(["echo", "shared"]).stdout == "shared\n"
        assert len(came) == 2
        close_master(target)
        master.wait(10)


def pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def test_a_server_that_never_speaks_ends_by_the_clock(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        target = server.target.model_copy(update={"port": door.getsockname()[1]})
        with pytest.raises(TimedOut, match="shared ssh connection"):
            open_master(target, timeout=2)


def test_a_dead_masters_socket_does_no_harm(server: Server) -> None:
    master = open_master(server.target)
    master.kill()
    master.wait()
    assert SshHost("here", server.target).run(["echo", "direct"]).stdout == "direct\n"
    again = open_master(server.target)
    assert again.poll() is None


def test_a_lost_session_is_opened_again_each_time_and_told(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    session = Session(server.target)
    session.start()
    session.usable()
    for lost in range(1, 4):  # a host may be restarted any number of times
        one = master_pid(server.target)
        assert one is not None
        os.kill(one, signal.SIGTERM)
        deadline = time.monotonic() + 15
        while master_pid(server.target) in (None, one):
            assert time.monotonic() < deadline, f"the shared connection did not come back from loss {lost}"
            time.sleep(0.05)
    assert SshHost("here", server.target.model_copy(update={"port": 1})).run(["echo", "shared"]).stdout == "shared\n"
    assert "session demo-n1: the shared connection ended" in caplog.text
    caplog.clear()
    session.end()
    session.join(10)
    assert not session.is_alive()
    assert "ended" not in caplog.text


def master_pid(target: SshTarget) -> int | None:
    """The process that holds the shared connection, as ssh itself tells."""
    argv = [*ssh_argv(target)[:-1], "-O", "check", f"{target.user}@{target.host}"]
    told = re.search(r"pid=(\d+)", subprocess.run(argv, capture_output=True, text=True, check=False).stderr)
    return int(told[1]) if told else None


def test_the_configuration_works_for_ssh_itself(server: Server) -> None:
    config = server.folder / "config"
    config.write_text(ssh_config({"n1": server.target}))
    done = subprocess.run(["ssh", "-F", config, "n1", "echo", "hi"], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("hi\n", "", 0)


def test_a_terminal_is_given_when_asked_for(server: Server) -> None:
    for tty, said in ((True, b"tty"), (False, b"none")):
        argv = ssh_argv(server.target, ["sh", "-c", "test -t 1 && echo tty || echo none"], tty)
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        assert done.stdout.strip() == said


def test_keys_are_made_once_and_mended_when_torn(tmp_path: Path) -> None:
    keys = generate_keys(tmp_path / "k", "demo-n1")
    first = keys.identity.read_bytes()
    assert generate_keys(tmp_path / "k", "demo-n1") == keys and keys.identity.read_bytes() == first
    assert keys.identity.stat().st_mode & 0o777 == 0o600
    assert keys.known_hosts.read_text().startswith("demo-n1 ssh-ed25519 AAAA")
    keys.identity_public.unlink()  # as a crash between the two files leaves it
    generate_keys(tmp_path / "k", "demo-n1")
    assert keys.identity_public.exists() and keys.identity.read_bytes() != first


def test_facts_of_a_host_without_hypervisor(server: Server) -> None:
    facts = server.host().facts()
    assert facts.dialect == "none"
    assert facts.versions["kernel"] == os.uname().release
    assert facts.release.startswith("debian ")


def test_a_reboot_is_proven_by_another_boot_id(embedded: Libvirt, tiny_image: Image, tmp_path: Path) -> None:
    with guest(embedded, tiny_image, tmp_path / "g", node(name="r", nics=(), disks=())) as one:
        one.await_ssh()
        master = open_master(one.host.target)
        before = one.host.boot_id()
        one.host.reboot(wait=60)
        assert one.host.boot_id() != before
        assert master.wait(5) is not None, "the shared connection to the old system is closed"
        assert one.host.facts().dialect == "none"
        one.domain.pause()
        with pytest.raises(TimedOut):
            one.host.run(["true"], timeout=3)
