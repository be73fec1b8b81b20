"""Root's part of a build: however the builder ends, its processes, mounts and loop devices go. Needs root or sudo."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from builder.errors import CommandFailed, Interrupted, TimedOut
from builder.images.workshop import Workshop, become_root, loops_of, reap_builds
from builder.paths import is_locked
from tests.support.repo import ROOT

pytestmark = pytest.mark.integration

# What diskimage-builder does in the worst moment: a loop device with a file system mounted, and programs at work.
HOLDS_EVERYTHING = """\
set -e
truncate -s 16M "$1/disk.raw"
device=$(losetup --find --show "$1/disk.raw")
mke2fs -q -F "$1/disk.raw"
mkdir "$1/mnt"
mount "$device" "$1/mnt"
(exec -a nestlab-test-sleeper sleep 300) &
touch "$1/ready"
exec sleep 300
"""


def sleepers(folder: Path) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(folder).encode() in (entry / "cmdline").read_bytes():
                found.append(entry.name)
        except OSError:
            continue
    return found


def wait_for(what: object, *, seconds: float = 20) -> None:
    assert callable(what)
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "hold"
    path.write_text(HOLDS_EVERYTHING)
    return path


def test_a_builder_killed_with_signal_9_leaves_nothing_that_reap_does_not_clear(tmp_path: Path, script: Path) -> None:
    root = tmp_path / "work"
    code = (
        "import sys; from pathlib import Path; from builder.images.workshop import Workshop\n"
        "with Workshop(Path(sys.argv[1])) as shop:\n"
        "    shop.as_root(sys.argv[2], {}, on_line=print, timeout=200)\n"
    )
    builder = subprocess.Popen([sys.executable, "-c", code, str(root), str(script)])
    wait_for(lambda: list(root.glob("build-*/ready")))
    folder = next(root.glob("build-*"))
    assert loops_of(folder) and is_locked(folder / "lock")
    assert reap_builds(root) == (), "a living builder's folder is not touched"

    os.kill(builder.pid, signal.SIGKILL)
    builder.wait()
    wait_for(lambda: not sleepers(folder))
    assert reap_builds(root) == (folder.name,)
    assert not folder.exists()
    assert loops_of(folder) == ()
    assert str(folder) not in Path("/proc/self/mountinfo").read_text()


def test_loops_are_known_where_the_work_folder_is_a_mount_of_its_own(tmp_path: Path) -> None:
    """As where /home or /tmp is: seen from the mount namespace of a build that is gone, the file has another path."""
    code = (
        "import subprocess, sys; from pathlib import Path; from builder.images.workshop import loops_of\n"
        "folder = Path(sys.argv[1]); file = folder / 'deep' / 'disk.raw'; file.parent.mkdir(); file.touch()\n"
        "with file.open('r+b') as raw: raw.truncate(1 << 20)\n"
        "argv = ['unshare', '--mount', 'losetup', '--find', '--show', str(file)]\n"
        "device = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()\n"
        "try: print(loops_of(folder) == (device,), loops_of(folder.parent / 'other'))\n"
        "finally: subprocess.run(['losetup', '--detach', device], check=True)\n"
    )
    script = 'mount -t tmpfs none "$1" && exec "$2" -c "$3" "$1"'
    argv = [*become_root(), "env", f"PYTHONPATH={ROOT}", "unshare", "--mount", "sh", "-c", script, "sh"]
    done = subprocess.run([*argv, tmp_path, sys.executable, code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "True ()\n"), done.stderr


def test_stop_and_time_out_end_everything_at_once(tmp_path: Path, script: Path) -> None:
    stop = threading.Event()
    with Workshop(tmp_path / "work") as shop:
        threading.Timer(1, stop.set).start()
        began = time.monotonic()
        with pytest.raises(Interrupted):
            shop.as_root(str(script), {}, on_line=print, timeout=100, stop=stop)
        assert time.monotonic() - began < 10
        folder = shop.folder
    assert not folder.exists() and loops_of(folder) == () and not sleepers(folder)
    with Workshop(tmp_path / "work") as shop, pytest.raises(TimedOut):
        shop.as_root(str(script), {}, on_line=print, timeout=1)
    assert not list((tmp_path / "work").iterdir())


def test_a_failure_tells_its_last_lines_and_secrets_stay_off_the_command_line(tmp_path: Path) -> None:
    script = tmp_path / "fail"
    script.write_text(
        '. "$1/environment"\ncat /proc/*/cmdline | tr "\\0" " "\necho\necho "mirror is $MIRROR"\nexit 7\n'
    )
    lines: list[str] = []
    with Workshop(tmp_path / "work") as shop, pytest.raises(CommandFailed) as caught:
        shop.as_root(str(script), {"MIRROR": "it's at hidden.example"}, on_line=lines.append, timeout=30)
    assert caught.value.returncode == 7
    assert "mirror is it's at hidden" in caught.value.stderr
    assert str(script) in lines[0] and "hidden.example" not in lines[0]
