"""What the scripts of an installation tell, run by the shells that installers have, against the real listener.

The kernel's command line and the console are files of the test; in the Debian installer's initrd nothing is changed.
"""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from builder.drivers.hooks import HookListener, Report
from builder.paths import data_dir
from builder.systems.rhel.releases import RELEASES
from tests.support.debian import CASES as DEBIAN
from tests.support.installer import initrd
from tests.support.rhel import HASH, kickstart, parsed, rhel_node
from tests.support.suse import CASES as SUSE
from tests.support.suse import scripts_of
from tests.support.xcpng import CASES as XCPNG

pytestmark = pytest.mark.integration

SHELLS = {"dash": ("dash",), "bash": ("bash", "--posix"), "busybox": ("busybox", "sh")}
TELL = (data_dir("answerfiles") / "shared/tell.sh").read_text()
PATIENCE = 3.0

each_shell = pytest.mark.parametrize("shell", SHELLS.values(), ids=SHELLS)


class Bench:
    """A machine that is being installed: its kernel's command line, its console, its /tmp."""

    def __init__(self, folder: Path) -> None:
        self.cmdline, self.console, self.tmp = folder / "cmdline", folder / "console", folder / "tmp"
        self.target = folder / "target"
        self.tmp.mkdir()
        self.told: list[Report] = []
        self.boot()

    def boot(self, *words: str) -> None:
        self.cmdline.write_text(f"BOOT_IMAGE=/linux quiet * 'odd {' '.join(words)} ---\n")

    def placed(self, script: str) -> str:
        places = {
            "/proc/cmdline": f"{self.cmdline}",
            "/dev/console": f"{self.console}",
            "/mnt/tmp/": f"{self.target}/tmp/",
            "/mnt": f"{self.target}",
            "/tmp/": f"{self.tmp}/",
        }
        return re.sub("|".join(places), lambda found: places[found[0]], script)

    def run(self, shell: Sequence[str], script: str, *arguments: str) -> float:
        """Seconds that it took. Whatever happened to the post, the script is content and says nothing."""
        file = self.tmp.parent / "script"
        file.write_text(self.placed(script))
        began = time.monotonic()
        done = subprocess.run([*shell, file, *arguments], capture_output=True, text=True, check=False, timeout=30)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        return time.monotonic() - began

    def marks(self) -> list[str]:
        return re.findall(r"^nestlab: (.*)$", self.console.read_text(), re.MULTILINE)

    def left(self) -> list[str]:
        return sorted(path.name for path in self.tmp.iterdir())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def listener(bench: Bench) -> Iterator[HookListener]:
    with HookListener(bench.told.append) as made:
        bench.boot(made.argument("127.0.0.1"))
        yield made


@contextlib.contextmanager
def answering(answer: bytes | None, *, pause: float = 60) -> Iterator[str]:
    """A listener's argument, who answers so and keeps the line open for `pause` seconds; None: it accepts nobody."""
    server = socket.create_server(("127.0.0.1", 0), backlog=0)
    over = threading.Event()
    held = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                guest = server.accept()[0]
                held.append(guest)
                with contextlib.suppress(OSError):
                    guest.sendall(answer or b"")
                over.wait(pause)
                guest.close()

    if answer is None:  # the queue of those who wait is full
        held += [socket.create_connection(server.getsockname()) for _ in range(1)]
    else:
        threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"nestlab.hooks=http://127.0.0.1:{server.getsockname()[1]}/{'a' * 32}"
    finally:
        over.set()
        server.close()
        for each in held:
            each.close()


@each_shell
def test_a_mark_comes_to_the_console_and_to_the_listener(
    shell: Sequence[str], bench: Bench, listener: HookListener
) -> None:
    assert bench.run(shell, TELL, "end", "disks", "the disks are ready") < 2
    assert bench.told == [Report("end", "disks", "the disks are ready")]
    assert bench.marks() == ["the disks are ready"]
    assert bench.left() == []


@each_shell
def test_a_failure_brings_the_end_of_the_log(shell: Sequence[str], bench: Bench, listener: HookListener) -> None:
    log = bench.tmp / "log"
    log.write_text("".join(f"line {n} {'ä' * 400}\n" for n in range(2000)) + f"root:{HASH}:1\nNo space left on device")
    assert bench.run(shell, TELL, "fail", "base-system", 'it\'s "bad" $HOME `id` %s \\n', str(log)) < 2
    (report,) = bench.told
    assert (report.kind, report.message) == ("fail", 'it\'s "bad" $HOME `id` %s \\n')
    lines = report.log.splitlines()
    assert 150 < len(lines) <= 200
    assert lines[-2:] == ["root:***:1", "No space left on device"]
    assert lines[0].startswith("line 18")


@each_shell
def test_without_an_address_there_is_the_console_alone(shell: Sequence[str], bench: Bench) -> None:
    for words in ((), ("nestlab.hooks=",), ("nestlab.hooks=https://10.0.2.2:1/x",), ("xnestlab.hooks=http://h:1/x",)):
        bench.boot(*words)
        assert bench.run(shell, TELL, "end", "disks", "the disks are ready") < 1
    bench.cmdline.unlink()
    assert bench.run(shell, TELL, "end", "disks", "the disks are ready") < 1
    assert bench.marks() == ["the disks are ready"]


@each_shell
def test_nobody_there_costs_no_time(shell: Sequence[str], bench: Bench, listener: HookListener) -> None:
    listener.close()
    assert bench.run(shell, TELL, "end", "disks", "the disks are ready") < 1
    assert bench.marks() == ["the disks are ready"]


@each_shell
@pytest.mark.parametrize("answer", [b"", b"HTTP/1.0 200", None], ids=["silent", "half an answer", "accepts nobody"])
def test_who_does_not_answer_is_not_waited_for(shell: Sequence[str], answer: bytes | None, bench: Bench) -> None:
    with answering(answer) as argument:
        bench.boot(argument)
        assert PATIENCE - 0.5 < bench.run(shell, TELL, "end", "disks", "the disks are ready") < PATIENCE + 1.5
    assert bench.marks() == ["the disks are ready"]
    assert bench.left() == []
    running = subprocess.run(["pgrep", "-f", str(bench.tmp)], capture_output=True, text=True, check=False)
    assert running.stdout == ""


@each_shell
@pytest.mark.parametrize("answer", [b"\0\xff" * 99 + b"\n", b"HTTP/1.0 500 no\r\n\r\n", b"\n" * 100000])
def test_a_strange_answer_changes_nothing(shell: Sequence[str], answer: bytes, bench: Bench) -> None:
    with answering(answer, pause=0) as argument:
        bench.boot(argument)
        assert bench.run(shell, TELL, "end", "disks", "the disks are ready") < PATIENCE + 1.5
    assert bench.marks() == ["the disks are ready"]


@each_shell
def test_a_token_that_is_refused_changes_nothing(shell: Sequence[str], bench: Bench, listener: HookListener) -> None:
    bench.boot(listener.argument("127.0.0.1")[:-1] + "x")
    assert bench.run(shell, TELL, "end", "disks", "the disks are ready") < 2
    assert bench.marks() == ["the disks are ready"]
    assert bench.told == []


@each_shell
def test_no_room_and_no_console_change_nothing(shell: Sequence[str], bench: Bench, listener: HookListener) -> None:
    bench.tmp.rmdir()
    bench.console.mkdir()
    assert bench.run(shell, TELL, "fail", "disks", "it failed", "/nowhere/log") < PATIENCE + 1.5


def test_the_last_address_counts_as_it_does_for_the_kernel(bench: Bench, listener: HookListener) -> None:
    bench.boot("nestlab.hooks=http://127.0.0.1:9/x", listener.argument("127.0.0.1"))
    bench.run(SHELLS["dash"], TELL, "end", "x", "m")
    assert len(bench.told) == 1


# -- the scripts of each system


@pytest.mark.parametrize("release", ["el6", "el7", "el9", "el10", "f45"])
def test_a_kickstart_tells_its_parts(release: str, bench: Bench, listener: HookListener) -> None:
    """Each of its sections with a mark, by the shell that runs them. Its other work is left out."""
    handler, _ = parsed(kickstart(rhel_node(release)), release)
    bench.console.touch()
    for log in ("program", "storage", "packaging", "anaconda"):
        (bench.tmp / f"{log}.log").write_text(f"{log} went wrong\n")
    for script in handler.scripts:
        if "nestlab-tell" in script.script:
            text = script.script.partition("\nvolume=")[0]
            bench.run(SHELLS["bash"], text + "\nexit 0\n")
    has = RELEASES[release]
    told = {"answers": True, "disks": has.pre_install, "packages": True, "settings": True}
    assert [report.phase for report in bench.told if report.kind == "end"] == [
        part for part, is_ in told.items() if is_
    ]
    failed = [report.log for report in bench.told if report.kind == "fail"]
    assert len(failed) == has.on_error
    assert all(f"{log} went wrong" in text for text in failed for log in ("program", "storage", "packaging"))


@pytest.mark.parametrize("name", ["15.6-full", "16.0-full"])
def test_the_scripts_of_suse_tell_their_parts(name: str, bench: Bench, listener: HookListener) -> None:
    scripts = scripts_of(SUSE[name].plan)
    for each in ("mark-answers.sh", "mark-disks.sh"):
        bench.run(SHELLS["bash"], scripts[each])
    (bench.target / "tmp").mkdir(parents=True)
    bench.run(SHELLS["bash"], scripts["volume.sh"].replace("OEMDRV", "no-such-volume"))
    assert (bench.target / "tmp/nestlab-tell").read_text() == bench.placed(TELL)
    failing = scripts["finish.sh"].partition("fail() {")
    text = failing[0] + failing[1] + failing[2].partition("\n}\n")[0] + "\n}\n(fail 'grub2-mkconfig') || exit 0\n"
    bench.run(SHELLS["bash"], text)
    bench.run(SHELLS["bash"], scripts["done.sh"])
    assert [(report.kind, report.phase, report.message) for report in bench.told] == [
        ("end", "answers", "the installer has read its answers"),
        ("end", "disks", "the disks are ready"),
        ("end", "packages", "the packages are installed"),
        ("fail", "settings", "the installation failed: grub2-mkconfig"),
        ("end", "settings", "the host is set up"),
    ]
    assert bench.left() == []
    bench.run(SHELLS["bash"], "exec 2> /dev/null\n" + text)  # its helper is gone: the console has it all the same
    assert bench.marks() == ["the installation failed: grub2-mkconfig"]


def test_the_scripts_of_xcpng_tell_their_parts(bench: Bench, listener: HookListener) -> None:
    files = XCPNG["8.3-full"].files
    (bench.tmp / "install-log").write_text("INSTALL FAILED.\nNo space left on device\n")
    bench.run(("bash",), files["installation-complete.sh"], "0")
    bench.run(("bash",), files["installation-complete.sh"], "1")
    head = files["filesystem-populated.sh"].partition("\n# Files of this host")[0]
    bench.run(("bash",), f"trap 'exit 0' EXIT\n{head}\nfalse\n", str(bench.tmp))
    assert [(report.kind, report.message, report.log[:15]) for report in bench.told[:3]] == [
        ("end", "the host is installed", ""),
        ("fail", "the installation failed", "INSTALL FAILED."),
        ("end", "the files are in place", ""),
    ]
    assert bench.told[3].message.startswith("the host script failed at line ")


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {release: initrd(release, tmp_path_factory.mktemp("initrd") / release) for release in ("12", "13")}


class Installer:
    """The Debian installer's initrd with a case's answers in it. Its shell runs what it is given unchanged."""

    def __init__(self, tree: Path, answers: dict[str, str]) -> None:
        self.tree = tree
        for folder in ("proc", "dev", "tmp", "var/log"):
            (tree / folder).mkdir(parents=True, exist_ok=True)
        (tree / "dev/console").unlink(missing_ok=True)
        (tree / "dev/null").unlink(missing_ok=True)
        (tree / "dev/null").touch()
        for path, text in answers.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(text)

    def boot(self, argument: str) -> None:
        (self.tree / "proc/cmdline").write_text(f"auto=true priority=critical {argument} ---\n")

    def run(self, script: str) -> float:
        began = time.monotonic()
        done = subprocess.run(["chroot", self.tree, "/bin/sh", "-c", script], capture_output=True, text=True,
                              check=False, timeout=30, env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin"})  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        return time.monotonic() - began

    def stop(self) -> None:
        """End what runs on in the tree, and nothing else."""
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (process / "root").readlink() == self.tree:
                    subprocess.run(["kill", process.name], check=False)


@pytest.fixture(params=["12", "13"])
def installer(request: pytest.FixtureRequest, trees: dict[str, Path], tmp_path: Path) -> Iterator[Installer]:
    subprocess.run(["cp", "-a", trees[request.param], tmp_path / "initrd"], check=True)
    made = Installer(tmp_path / "initrd", dict(DEBIAN[f"{request.param}-bios-lvm"].answers))
    yield made
    made.stop()


def test_debians_installer_posts_with_what_it_has(installer: Installer, bench: Bench, listener: HookListener) -> None:
    """Its busybox has no wget that posts (12) or none at all (13), and no timeout: it has nc."""
    installer.boot(listener.argument("127.0.0.1"))
    assert installer.run("sh /nestlab/early.sh") < 5
    assert bench.told[0] == Report("end", "answers", "the installer has read its answers")
    (installer.tree / "var/log/syslog").write_text("one\nNo space left on device\n")
    assert installer.run("sh /tmp/nestlab-tell fail settings 'it failed' /var/log/syslog") < 2
    assert bench.told[-1] == Report("fail", "settings", "it failed", "one\nNo space left on device")
    assert (installer.tree / "dev/console").read_text() == "\nnestlab: it failed\n"
    listener.close()
    assert installer.run("sh /tmp/nestlab-tell end settings 'nobody is there'") < 1
    for answer in (b"", None):
        with answering(answer) as argument:
            installer.boot(argument)
            assert PATIENCE - 0.5 < installer.run("sh /tmp/nestlab-tell end x silence") < PATIENCE + 1.5
    assert (installer.tree / "dev/console").read_text() == "\nnestlab: silence\n"
    assert [path.name for path in (installer.tree / "tmp").glob("nestlab-tell.*")] == []


def test_debians_installer_tells_each_step_of_its_menu(
    installer: Installer, bench: Bench, listener: HookListener
) -> None:
    log = installer.tree / "var/log/syslog"
    log.write_text("Nov 21 14:00:01 syslogd started\n")
    installer.boot(listener.argument("127.0.0.1"))
    began = time.monotonic()
    installer.run("sh /nestlab/early.sh")
    assert time.monotonic() - began < 5  # what it leaves running is not waited for
    with log.open("a") as file:
        for line in (
            "main-menu[265]: INFO: Menu item 'choose-mirror' selected",
            "anna[2000]: DEBUG: retrieving eject-udeb 2.41-5",
            "main-menu[265]: (process:2411): Menu item 'x' selected by nobody",
            "net-retriever: gpgv: Can't check signature: No public key",
            "net-retriever: error: Bad signature on /tmp/net-retriever-3064-Release.",
            "main-menu[265]: INFO: Menu item 'partman-base' selected",
            "main-menu[265]: WARNING **: Configuring 'partman-base' failed with error code 1",
            "main-menu[265]: WARNING **: Menu item 'partman-base' failed.",
        ):
            file.write(f"Nov 21 14:00:02 {line}\n")
    deadline = time.monotonic() + 15
    while sum(report.kind == "fail" for report in bench.told) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [(report.kind, report.phase, report.message) for report in bench.told[1:]] == [
        ("begin", "choose-mirror", "step choose-mirror"),
        ("fail", "components", "error: Bad signature on /tmp/net-retriever-3064-Release."),
        ("begin", "partman-base", "step partman-base"),
        ("fail", "partman-base", "step partman-base failed"),
    ]
    assert bench.told[-1].log.splitlines()[-1].endswith("Menu item 'partman-base' failed.")
