"""ssh arguments, configuration and the wait for a banner. Real servers: tests/integration/test_ssh.py."""

from __future__ import annotations

import contextlib
import re
import shlex
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from builder.drivers import ssh
from builder.drivers.ssh import open_master, ssh_argv, ssh_config, wait_banner
from builder.errors import Interrupted, LabError, TimedOut
from builder.model.runtime import SshTarget


def target(port: int = 2222, **changes: str | None) -> SshTarget:
    values = {
        "user": "root",
        "identity_file": "/lab/my keys/id_ed25519",
        "known_hosts": "/lab/my keys/known%hosts",
        "control_path": "/run/n/s1",
        "host_key_alias": "demo-n1",
    }
    return SshTarget.model_validate({"host": "127.0.0.1", "port": port, **values, **changes})


AWKWARD = ["printf", "%s|", "two words", "a'b", '"', "$HOME", "`id`", "*", "", "back\\slash", "new\nline", "-x", "é"]


def test_words_arrive_as_given_whatever_their_characters() -> None:
    """The last argument is what the node's shell gets: a shell must make the same words of it again."""
    said = subprocess.run(["sh", "-c", ssh_argv(target(), AWKWARD)[-1]], capture_output=True, check=True, cwd="/")
    assert said.stdout.decode() == "".join(f"{word}|" for word in AWKWARD[2:])


def test_nothing_of_the_users_own_takes_part() -> None:
    argv = ssh_argv(target())
    assert argv[:3] == ["ssh", "-F", "none"]
    options = dict(argv[i + 1].split("=", 1) for i, word in enumerate(argv) if word == "-o")
    assert options["IdentityAgent"] == "none" and options["IdentitiesOnly"] == "yes"
    assert options["StrictHostKeyChecking"] == "yes" and options["BatchMode"] == "yes"
    assert options["HostKeyAlias"] == "demo-n1"
    assert options["ControlMaster"] == "no" and options["ControlPath"] == "/run/n/s1"
    assert "-T" in argv and "-tt" in ssh_argv(target(), (), True)
    assert "ControlPath" not in str(ssh_argv(target(control_path=None)))


def _effective(arguments: list[str]) -> dict[str, str]:
    """What the client itself makes of it: ssh -G connects to nothing."""
    said = subprocess.run(["ssh", "-G", *arguments], capture_output=True, check=True, text=True).stdout
    return dict(line.split(" ", 1) for line in said.splitlines() if " " in line)


def test_configuration_and_arguments_say_the_same(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(ssh_config({"n1": target(), "n2": target(2223, host_key_alias="demo-n2")}))
    by_argv = _effective(ssh_argv(target())[1:])
    by_config = _effective(["-F", str(config), "n1"])
    assert by_config["port"] == "2222" and by_config["user"] == "root" and by_config["hostname"] == "127.0.0.1"
    for key in ("identityfile", "hostkeyalias", "stricthostkeychecking", "controlpath", "batchmode"):
        assert by_config[key] == by_argv[key]
    assert by_argv["identityfile"].strip('"') == "/lab/my keys/id_ed25519"
    assert _effective(["-F", str(config), "n2"])["hostkeyalias"] == "demo-n2"
    assert ssh_config({}) == ""


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times the pace."""
    for name in ("_EVERY", "_KEPT", "_OLDEST_KEPT"):
        monkeypatch.setattr(ssh, name, getattr(ssh, name) / 10)


@pytest.fixture
def server() -> Iterator[Callable[[Callable[[socket.socket, int], None]], int]]:
    """`server(play)`: calls play(connection, number) for each connection, in a thread of its own."""
    with contextlib.ExitStack() as stack:

        def serve(play: Callable[[socket.socket, int], None]) -> int:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def accept() -> None:
                number = 0
                with contextlib.suppress(OSError):
                    while True:
                        peer, _ = listener.accept()
                        threading.Thread(target=play, args=(peer, number), daemon=True).start()
                        number += 1

            threading.Thread(target=accept, daemon=True).start()
            return int(listener.getsockname()[1])

        yield serve


def test_a_banner(server: Callable[[Callable[[socket.socket, int], None]], int]) -> None:
    def play(peer: socket.socket, _number: int) -> None:
        peer.sendall(b"SSH-")
        time.sleep(0.2)
        peer.sendall(b"2.0-OpenSSH_9.2\r\nmore")
        time.sleep(1)

    began = time.monotonic()
    assert wait_banner(target(server(play)), began + 5) == "SSH-2.0-OpenSSH_9.2"
    assert time.monotonic() - began < 1


@pytest.mark.usefixtures("fast")
def test_connections_that_are_closed_or_lead_nowhere_are_tried_again(
    server: Callable[[Callable[[socket.socket, int], None]], int],
) -> None:
    """As user-mode networking does while the guest boots: accepted, then closed, or never answered."""

    def play(peer: socket.socket, number: int) -> None:
        if number < 3:
            peer.close()
        elif number < 5:
            time.sleep(30)
        else:
            peer.sendall(b"SSH-2.0-x\n")

    began = time.monotonic()
    assert wait_banner(target(server(play)), began + 10) == "SSH-2.0-x"
    assert time.monotonic() - began < 2


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("slow", [0.3, 0.6])
def test_a_slow_server_is_waited_for(
    server: Callable[[Callable[[socket.socket, int], None]], int], slow: float
) -> None:
    """An emulated sshd speaks seconds after it was reached; giving up on each connection sooner would never end."""

    def play(peer: socket.socket, _number: int) -> None:
        time.sleep(slow)
        with contextlib.suppress(OSError):
            peer.sendall(b"SSH-2.0-slow\n")

    began = time.monotonic()
    assert wait_banner(target(server(play)), began + 10) == "SSH-2.0-slow"
    assert time.monotonic() - began < slow + 0.5


@pytest.mark.usefixtures("fast")
def test_few_connections_are_open_at_once(server: Callable[[Callable[[socket.socket, int], None]], int]) -> None:
    """sshd drops unauthenticated connections beyond ten, and each costs an emulated node a process."""
    lock, now, most = threading.Lock(), [0], [0]

    def play(peer: socket.socket, _number: int) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        peer.recv(1)
        with lock:
            now[0] -= 1

    with pytest.raises(TimedOut, match="an ssh server on"):
        wait_banner(target(server(play)), time.monotonic() + 1)
    assert 3 <= most[0] <= 4


def test_nobody_listens_until_somebody_does() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]

    def later() -> None:
        with socket.create_server(("127.0.0.1", port)) as listener:
            peer, _ = listener.accept()
            peer.sendall(b"SSH-2.0-late\n")
            time.sleep(0.5)

    threading.Timer(0.5, later).start()
    began, cpu = time.monotonic(), time.thread_time()
    assert wait_banner(target(port), began + 5) == "SSH-2.0-late"
    assert time.monotonic() - began < 1.2
    assert time.thread_time() - cpu < 0.1


def test_something_else_listens(server: Callable[[Callable[[socket.socket, int], None]], int]) -> None:
    port = server(lambda peer, _number: peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    with pytest.raises(TimedOut):
        wait_banner(target(port), time.monotonic() + 0.5)


def test_interrupted() -> None:
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(Interrupted):
        wait_banner(target(1), time.monotonic() + 5, stop)


@pytest.mark.parametrize("path", [None, "/tmp/" + "x" * 90])
def test_a_control_path_that_cannot_be_a_socket_is_refused(path: str | None) -> None:
    with pytest.raises(LabError, match="no usable control path"):
        open_master(target(control_path=path))


def test_the_pasted_line_is_one_a_shell_takes() -> None:
    line = shlex.join(ssh_argv(target(), ["true"]))
    assert re.search(r"-p 2222 ", line) and shlex.split(line) == ssh_argv(target(), ["true"])
