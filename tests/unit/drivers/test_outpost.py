"""The outpost, as it is sent and started, with this machine in the part of the other one: a shell instead of ssh."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import shlex
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from builder.drivers import outpost_link
from builder.drivers.outpost_link import MODULES, FarSwitch, Outpost, Shell
from builder.drivers.ports import PortTable
from builder.errors import HostLacks, LabError, UsageError
from tests.support.repo import sources


def by_shell(command: str) -> Sequence[str]:
    return ["sh", "-c", command]


@contextlib.contextmanager
def outpost(root: Path, shell: Shell = by_shell, lab: str = "x-1") -> Iterator[Outpost]:
    made = Outpost("there", shell, root=str(root))
    try:
        made.ask("open", lab=lab, owner={"lab": lab}, wait=0.5)
        yield made
    finally:
        made.close()


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Outpost]:
    with outpost(tmp_path / "there") as made:
        yield made


def file_of(path: Path, data: bytes) -> tuple[Path, str]:
    path.write_bytes(data)
    return path, hashlib.sha256(data).hexdigest()


def test_what_is_sent_needs_nothing_but_the_standard_library() -> None:
    sent = {source.module: source for source in sources("builder") if source.module in MODULES}
    assert set(sent) == set(MODULES)
    known = set(sys.stdlib_module_names) | {"__future__"}
    for number, name in enumerate(MODULES):
        for node in ast.walk(sent[name].tree):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for used in names:
                assert used.partition(".")[0] in known or used in MODULES[:number], f"{name} uses {used}"


def test_a_file_is_sent_once_however_many_labs_read_it(tmp_path: Path) -> None:
    file, digest = file_of(tmp_path / "image", b"i" * 3_000_000)
    told: list[tuple[int, int]] = []
    with outpost(tmp_path / "there") as one:
        path = Path(one.put(file, digest, progress=lambda *now: told.append(now)))
        assert (path.read_bytes(), path.stat().st_mode & 0o777) == (file.read_bytes(), 0o444)
        assert told[-1] == (3_000_000, 3_000_000)
        with outpost(tmp_path / "there", lab="y-1") as other:
            assert other.put(file, digest, progress=lambda *_: pytest.fail("sent again")) == str(path)
            one.ask("remove")
            assert one.ask("prune", limit=0) == [], "the other lab reads it"
            other.ask("remove")
            assert other.ask("prune", limit=3_000_000) == [], "there is room for it"
            assert other.ask("prune", limit=0) == [digest]
    assert not any((tmp_path / "there/labs").iterdir()), "nothing of a lab is left"


def test_two_that_send_the_same_send_it_once(tmp_path: Path) -> None:
    file, digest = file_of(tmp_path / "image", b"i" * 100_000)
    with outpost(tmp_path / "there") as one, outpost(tmp_path / "there", lab="y-1") as other:
        place = one.ask("begin", sha256=digest, size=100_000)
        found: list[str] = []
        waiting = threading.Thread(target=lambda: found.append(other.put(file, digest)))
        waiting.start()
        time.sleep(0.2)
        assert found == []
        Path(place["partial"]).write_bytes(file.read_bytes())
        path = one.ask("adopt", sha256=digest)
        waiting.join(10)
        assert found == [path]


def test_bytes_of_another_digest_are_refused_and_leave_nothing(tmp_path: Path, there: Outpost) -> None:
    file, digest = file_of(tmp_path / "image", b"right")
    with pytest.raises(LabError, match="changed just now"):
        there.put(file, hashlib.sha256(b"other").hexdigest())

    def damaging(command: str) -> Sequence[str]:
        return by_shell(command.replace("exec cat", "sed s/right/wrong/"))

    with (
        outpost(tmp_path / "there", damaging, lab="y-1") as other,
        pytest.raises(LabError, match=f"there: what came for .* and {digest} was sent"),
    ):
        other.put(file, digest)
    assert [path.name for path in (tmp_path / "there/store").iterdir()] == [".lock"]
    assert Path(there.put(file, digest)).read_bytes() == b"right", "and it can be sent again"


def test_what_cannot_be_kept_there_is_told_before_it_is_sent(there: Outpost) -> None:
    with pytest.raises(HostLacks, match=r"there: .* MiB free, and \d+ MiB are to come") as caught:
        there.ask("begin", sha256="0" * 64, size=1 << 60)
    assert "nestlab-dir" in str(caught.value.hint)
    with pytest.raises(HostLacks):
        there.ask("begin", sha256="0" * 64, size=1 << 60)  # nobody else is sending it


def test_a_way_that_takes_no_bytes_is_told(tmp_path: Path) -> None:
    file, digest = file_of(tmp_path / "image", b"i" * 1_000_000)

    def full(command: str) -> Sequence[str]:
        broken = "echo 'cat: write error: No space left on device' >&2; exit 1"
        return by_shell(broken if "exec cat" in command else command)

    with (
        outpost(tmp_path / "there", full) as made,
        pytest.raises(HostLacks, match=r"there does not take image: .*No space left on device"),
    ):
        made.put(file, digest)
    assert not list((tmp_path / "there/store").glob("*partial*"))


def test_a_labs_own_file_is_known_by_its_token(tmp_path: Path, there: Outpost) -> None:
    file, digest = file_of(tmp_path / "disk", b"disk")
    assert there.ask("placed", name="nodes/a/disk", token="1")["placed"] is False
    path = Path(there.put(file, digest, name="nodes/a/disk", token="1"))
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"disk", 0o600)
    assert there.ask("placed", name="nodes/a/disk", token="1") == {"path": str(path), "placed": True}
    assert there.ask("placed", name="nodes/a/disk", token="2") == {"path": str(path), "placed": False}
    for folder in (path.parent, path.parent.parent):
        assert folder.stat().st_mode & 0o777 == 0o711, "QEMU's user passes, and sees nothing"


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "nodes/../../x", ""])
def test_a_name_leads_nowhere_else(there: Outpost, name: str) -> None:
    with pytest.raises(UsageError, match="no name of a lab's file"):
        there.ask("placed", name=name, token="")


def test_a_lab_has_one_keeper(tmp_path: Path, there: Outpost) -> None:
    with pytest.raises(LabError, match="held by another keeper"), outpost(tmp_path / "there"):
        pass
    assert [(lab["lab"], lab["held"]) for lab in there.ask("labs")] == [("x-1", True)]
    there.close()
    with outpost(tmp_path / "there") as again:
        again.ask("remove")


def test_a_folder_of_somebody_else_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "there").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HostLacks, match="not a folder of user"), outpost(tmp_path / "there"):
        pass


def test_ports_are_claimed_there_until_it_ends(there: Outpost) -> None:
    first, second = there.ask("claim", count=2)
    with PortTable(first, second) as table:
        with pytest.raises(HostLacks):
            table.claim(1)
        there.close()
        assert table.claim(2) == (first, second)


def test_the_switch_there_is_used_as_the_one_here(there: Outpost) -> None:
    switch = FarSwitch(there)
    switch.networks({"lan": 1500})
    ports = there.ask("claim", count=4)
    with socket.socket(type=socket.SOCK_DGRAM) as a, socket.socket(type=socket.SOCK_DGRAM) as b:
        for card, (qemu, port) in zip((a, b), (ports[:2], ports[2:]), strict=True):
            card.bind(("127.0.0.1", qemu))
            card.settimeout(5)
            switch.add(port, qemu=qemu, network="lan")
        recording = switch.capture("lan")
        frame = b"\xff" * 6 + b"\x52\x54\x00\x00\x00\x01" + b"\x08\x00" + b"x" * 50
        a.sendto(frame, ("127.0.0.1", ports[1]))
        assert b.recv(2000) == frame
        switch.cut(ports[1])
        switch.impair(ports[3], delay_ms=2, loss=0.5)
        states = switch.states()
        assert states[ports[1]].cut and states[ports[1]].counters["rx"] == 1
        assert (states[ports[3]].delay, states[ports[3]].loss) == (0.002, 0.5)
        pcap = switch.end_capture("lan", recording)
        assert frame in pcap and (recording.frames, recording.missed) == (1, 0)
        switch.remove(ports[1])
        assert set(switch.states()) == {ports[3]}
        with pytest.raises(LabError, match="no network wan"):
            switch.capture("wan")


def test_a_lost_connection_is_told_to_everyone_who_waits(there: Outpost) -> None:
    threading.Timer(0.3, there._process.kill).start()
    with pytest.raises(LabError, match="connection to there is lost"):
        for _ in range(1000):
            there.ask("ping")
            time.sleep(0.01)
    with pytest.raises(LabError, match="connection to there is lost"):
        there.ask("ping")
    assert not there.is_open


def test_it_ends_when_nobody_speaks_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cut cable closes nothing."""
    whole = outpost_link.payload(None).partition(b"\n")[2].decode()
    short = whole.replace("SILENCE = 60.0", "SILENCE = 1.0")
    assert short != whole
    monkeypatch.setattr(outpost_link, "payload", lambda _root: b"%d\n%s" % (len(short), short.encode()))
    made = Outpost("there", by_shell)
    assert made._process.wait(10) == 1


def test_a_machine_without_python_is_told(tmp_path: Path) -> None:
    def bare(command: str) -> Sequence[str]:
        return ["env", f"PATH={tmp_path}", "/bin/sh", "-c", command]

    with pytest.raises(HostLacks, match=r"there has no python3 of version 3\.11") as caught:
        Outpost("there", bare)
    assert caught.value.hint == "there: apt-get install python3"


def test_a_user_without_a_shell_is_told() -> None:
    with pytest.raises(LabError, match="outpost: This account is currently not available"):
        Outpost("there", lambda _: ["sh", "-c", "echo This account is currently not available. >&2; exit 1"])


def test_what_start_up_files_print_does_no_harm(tmp_path: Path) -> None:
    noise = '{"id": 1}'

    def chatty(command: str) -> Sequence[str]:
        return by_shell(f"echo Welcome; echo 17; echo {shlex.quote(noise)}; {command}")

    with outpost(tmp_path / "there", chatty) as made:
        assert made.ask("ping") is True


def test_the_machine_tells_of_itself(there: Outpost, tmp_path: Path) -> None:
    told = there.ask("machine")
    assert told["boot"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert told["folder"] == str(tmp_path / "there") and told["room"] > 0 and told["memory"] > 0
    assert there.ask("has_file", path=__file__) is True
    with pytest.raises(UsageError, match="no such request"):
        there.ask("eval")
