"""`nestlab media` as users start it: pipes that close, disks that fill, Ctrl-C, and folders for a network boot."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.media.edits import Arguments
from builder.media.plan import plan_edits
from builder.media.sinks.inplace import journal_of
from tests.integration import media_sources as media
from tests.integration.media_sources import Make, source_fixture  # noqa: F401 - a fixture

pytestmark = pytest.mark.integration

NESTLAB = (sys.executable, "-m", "builder", "media")
ROOT = Path(__file__).resolve().parents[2]
EDIT = ("--append", "a=1")


def nestlab(*argv: str | Path, status: int = 0, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run([*NESTLAB, *map(str, argv)], cwd=ROOT, input=stdin, capture_output=True, check=False)
    assert done.returncode == status, done.stderr.decode()
    assert b"Traceback" not in done.stderr
    return done


def expected(src: Path) -> str:
    """The digest of the image that EDIT makes."""
    with plan_edits(src, [Arguments(kernel=("a=1",))]).open() as image:
        return hashlib.sha256(image.read(0, image.size)).hexdigest()


def test_a_stream_is_the_image(source: Make) -> None:
    done = nestlab("build", "--iso", source("isohybrid"), "-o", "-", *EDIT)
    assert hashlib.sha256(done.stdout).hexdigest() == expected(source("isohybrid"))


def test_a_reader_that_goes_away_is_no_bug(source: Make) -> None:
    argv = [*NESTLAB, "build", "--iso", str(source("isohybrid")), "-o", "-", *EDIT]
    command = f"{shlex.join(argv)} | head -c 1000 | wc -c"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, check=True)
    assert done.stdout.split() == [b"1000"]
    assert b"Traceback" not in done.stderr


def test_a_terminal_gets_a_bar(source: Make, tmp_path: Path) -> None:
    """On a terminal of its own: bytes, speed and what is left, and nothing of it in the results."""
    master, slave = pty.openpty()
    argv = [*NESTLAB, "build", "--iso", str(source("isohybrid")), "-o", str(tmp_path / "o"), *EDIT, "--sbom",
            str(tmp_path / "s")]  # fmt: skip
    child = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=slave, env={**os.environ, "TERM": "xterm"})
    os.close(slave)
    drawn = b""
    with contextlib.suppress(OSError):  # the terminal's end is an error to its reader
        while piece := os.read(master, 4096):
            drawn += piece
    out = child.communicate()[0]
    os.close(master)
    assert child.returncode == 0
    assert b"write" in drawn
    assert b"checksum" in drawn
    assert b"\x1b" not in out
    assert b"menu edited" in out


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A file system of one mebibyte."""
    place = tmp_path / "full"
    place.mkdir()
    media.sh("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place)
    yield place
    media.sh("umount", place)


@pytest.mark.parametrize("how", ["file", "stream", "volume", "sbom", "tree"])
def test_a_full_disk_is_said(how: str, full: Path, source: Make, tmp_path: Path) -> None:
    src = source("isohybrid")
    (tmp_path / "big").write_bytes(media.noise(2 << 20, "big"))
    build = ("build", "--iso", src, *EDIT)
    if how == "stream":
        with (full / "out").open("wb") as target:
            done = subprocess.run([*NESTLAB, *map(str, build), "-o", "-"], cwd=ROOT, stdout=target,
                                  stderr=subprocess.PIPE, check=False)  # fmt: skip
        assert done.returncode == 1
    else:
        done = nestlab(*{
            "file": (*build, "-o", full / "out"),
            "volume": ("volume", "-o", full / "out", "--add", f"{tmp_path / 'big'}:/big"),
            "sbom": (*build, "-o", tmp_path / "out.iso", "--sbom", _filled(full) / "out"),
            "tree": ("pxe", "--iso", src, "--out", _filled(full) / "out"),
        }[how], status=1)  # fmt: skip
    assert b"Traceback" not in done.stderr
    assert b"room" in done.stderr or b"No space left" in done.stderr
    if how in {"file", "volume", "sbom"}:
        assert [path.name for path in full.iterdir() if path.name != "filling"] == []


def _filled(place: Path) -> Path:
    with pytest.raises(OSError, match="No space"), (place / "filling").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return place


def test_what_may_not_be_read_is_not_left_out(source: Make, tmp_path: Path) -> None:
    """Without root's right to read everything, which a test may have: a folder that is closed ends it."""
    closed = tmp_path / "more/closed"
    closed.mkdir(parents=True)
    (tmp_path / "more/open").write_text("x")
    closed.chmod(0)
    plainly = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
    argv = [*plainly, *NESTLAB, "build", "--iso", str(source("isohybrid")), "-o", str(tmp_path / "o")]
    for option in ("--add", "--add-initrd"):
        done = subprocess.run([*argv, option, f"{tmp_path / 'more'}:/x"], cwd=ROOT, capture_output=True, check=False)
        assert done.returncode == 2
        assert f"cannot read {closed}: Permission denied" in done.stderr.decode()
    closed.chmod(0o700)
    assert not (tmp_path / "o").exists()


def test_ctrl_c_leaves_nothing(source: Make, tmp_path: Path) -> None:
    """At moments from the start of the program to behind its end: no half file, and the source as it was."""
    src = tmp_path / "src.iso"
    src.write_bytes(source("isohybrid").read_bytes())
    before, wanted = hashlib.sha256(src.read_bytes()).hexdigest(), expected(src)
    (tmp_path / "out").mkdir()
    statuses = set()
    for number in range(12):
        in_place = number % 2 == 0
        where = ["--in-place"] if in_place else ["-o", str(tmp_path / "out/x.iso")]
        child = subprocess.Popen([*NESTLAB, "build", "--iso", str(src), *where, *EDIT], cwd=ROOT,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)  # fmt: skip
        time.sleep(0.15 + 0.12 * number)
        child.send_signal(signal.SIGINT)
        err = child.communicate()[1]
        statuses.add(child.returncode)
        # Before our own code runs, it is Python that ends, by the signal.
        assert child.returncode in {0, 130, -signal.SIGINT}, err
        if child.returncode == 130:
            assert b"Traceback" not in err
        if journal_of(src).exists():
            assert hashlib.sha256(src.read_bytes()).hexdigest() == wanted, "half a change was left"
            nestlab("undo", src)
        assert hashlib.sha256(src.read_bytes()).hexdigest() == before
        left = list((tmp_path / "out").iterdir())
        assert [path.name for path in left] in ([], ["x.iso"])
        for path in left:
            assert hashlib.sha256(path.read_bytes()).hexdigest() == wanted
            path.unlink()
    assert len(statuses) > 1, "the moments were badly chosen"


def test_a_disk_by_the_verb(source: Make, tmp_path: Path) -> None:
    """A loop device of our own: it cannot be pulled out, and nobody is there to answer."""
    backing = tmp_path / "disk.img"
    backing.write_bytes(bytes(16 << 20))
    loop = media.sh("losetup", "--find", "--show", backing).strip()
    try:
        src = source("isohybrid")
        assert b"cannot be pulled out" in nestlab("write", src, loop, "--yes", status=1).stderr
        said = nestlab("write", src, loop, "--again", loop, status=2).stderr
        assert b"nobody is here to say yes" in said
        assert re.search(rb"16 MiB, NOT removable", said)
        assert Path(loop).read_bytes() == bytes(16 << 20)
        nestlab("write", src, loop, "--again", loop, "--yes", *EDIT)
        size = plan_edits(src, [Arguments(kernel=("a=1",))]).size
        assert hashlib.sha256(Path(loop).read_bytes()[:size]).hexdigest() == expected(src)
    finally:
        media.sh("losetup", "-d", loop)


LAB = """
name: two
nodes:
  a: {system: rhel, release: el9, disks: [{name: d, size: 20GiB}], source: {medium: SOURCE}, install: {hostname: first}}
  b: {system: rhel, release: el9, disks: [{name: d, size: 20GiB}], source: {medium: SOURCE},
      install: {hostname: second, delivery: iso}}
"""


def test_a_server_of_two_hosts(source: Make, tmp_path: Path) -> None:
    """curl gets two images made from one file, files that are inside them, and a host's second volume."""
    (tmp_path / "lab.yaml").write_text(LAB.replace("SOURCE", str(source("isohybrid"))))
    before = sorted(source("isohybrid").parent.iterdir())
    argv = [*NESTLAB, "serve", str(tmp_path / "lab.yaml"), "--port", "0"]
    child = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        urls = {url.rpartition("/")[2]: url for url in (child.stdout.readline().split()[-1] for _ in range(3))}
        assert sorted(urls) == ["a-oemdrv.iso", "a.iso", "b.iso"]
        for name, url in urls.items():
            media.sh("curl", "-sf", "-o", tmp_path / name, url)
        assert "inst.ks=hd:LABEL=OEMDRV" in media.sh("curl", "-sf", f"{urls['a.iso']}/isolinux/isolinux.cfg")
        assert "--hostname=second" in media.sh("curl", "-sf", f"{urls['b.iso']}/ks.cfg")
        media.sh("curl", "-sf", f"{urls['a.iso']}/ks.cfg", ok=(22,))
    finally:
        child.send_signal(signal.SIGTERM)
        err = child.communicate(timeout=20)[1]
    assert child.returncode == 130
    assert "GET /b.iso/ks.cfg 200" in err
    assert "GET /a.iso/ks.cfg 404" in err
    assert media.by_xorriso(tmp_path / "b.iso").files.keys() - media.by_xorriso(tmp_path / "a.iso").files.keys() == {
        "/ks.cfg"
    }
    assert "--hostname=first" in media.sh("isoinfo", "-R", "-x", "/ks.cfg", "-i", tmp_path / "a-oemdrv.iso")
    assert sorted(source("isohybrid").parent.iterdir()) == before


def test_a_folder_for_a_network_boot(source: Make, tmp_path: Path) -> None:
    out = tmp_path / "net"
    nestlab("pxe", "--iso", source("isohybrid"), "--out", out, "--mac", "52:54:00:AA:BB:CC", *EDIT)
    media.sh("grub-script-check", out / "boot/grub/grub.cfg-01-52-54-00-aa-bb-cc")
    kernel = media.by_xorriso(source("isohybrid"))
    for name in ("vmlinuz", "initrd.img"):
        assert hashlib.sha256((out / "source" / name).read_bytes()).hexdigest() == kernel.digest(f"/isolinux/{name}")
    text = (out / "pxelinux.cfg/01-52-54-00-aa-bb-cc").read_text()
    for word in re.findall(r"source/[\w.]+", text):
        assert (out / word).is_file()
    assert "quiet a=1" in text
    for loader in (
        "pxelinux.0",
        "ldlinux.c32",
        "undionly.kpxe",
        "boot/grub/x86_64-efi/core.efi",
        "boot/grub/i386-pc/core.0",
    ):
        assert (out / loader).stat().st_size > 10_000
    # Again, and another host: what is there stays. What a server gives out, it gives to all.
    (tmp_path / "key").write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n")
    host = ("--mac", "52:54:00:aa:bb:dd", "--add-initrd", f"{tmp_path / 'key'}:/key")
    said = nestlab("pxe", "--iso", source("isohybrid"), "--out", out, *host, *EDIT).stderr
    assert b"whoever reaches the server" in said
    assert len(list((out / "pxelinux.cfg").iterdir())) == 2
