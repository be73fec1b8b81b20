"""`nestlab media prove`: its judges on spoilt media, and machines that end as they should: a boot that is lost is told
at once, and nothing is left of one that was interrupted or killed."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from builder.errors import HostLacks
from builder.lifecycle import media_proof_records as records
from builder.lifecycle.media_proof_expect import found_answers
from builder.lifecycle.media_proof_model import Judge
from builder.media.bill import changed_paths, injected
from builder.media.compare import compare
from builder.media.edits import Arguments, Edit, How, Overlay, Put
from builder.media.initrd import OverlayFile
from builder.media.plan import plan_edits
from builder.media.sinks import write_file
from tests.integration import media_sources as media
from tests.integration.media_sources import Make, source_fixture  # noqa: F401 - a fixture
from tests.support.lab import Bench, bench
from tests.support.xcpng_media import Contents, build_xcpng

pytestmark = pytest.mark.integration

MBR_TYPE, GPT_GUID, VOLUME_ID, VOLUME_DATE = 446 + 4, 512 + 56, 16 * 2048 + 40, 16 * 2048 + 830 + 7


def judged(source: Path, spoilt: Path) -> dict[str, Judge]:
    found = records.compare_records(source, spoilt, spoilt.stat().st_size - source.stat().st_size)
    return {judge.tool: judge for judge in found}


@pytest.mark.parametrize("layout", media.HYBRID)
def test_edits_of_every_layout_are_no_difference(layout: str, source: Make, tmp_path: Path) -> None:
    """Also where partitions move to a new end, and folders are added."""
    edits: list[Edit] = [
        Put("/new/folder/answer.xml", b"<a/>"),
        Put("/big.bin", media.noise(700_000, "big")),
        Overlay((OverlayFile("/x", b"y"),), how="append"),
        Arguments(kernel=("inst.ks=cdrom:/answer.xml",)),
    ]
    write_file(plan_edits(source(layout), edits), tmp_path / "out.iso")
    found = judged(source(layout), tmp_path / "out.iso")
    assert {tool: judge.different for tool, judge in found.items() if judge.different} == {}
    assert found["xorriso"].grown >= 2


def spoil(source: Path, to: Path, at: int) -> Path:
    data = bytearray(source.read_bytes())
    data[at] ^= 0x15
    to.write_bytes(data)
    return to


def test_all_judges_read_a_copy_alike(source: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is called, and from where it is named."""
    monkeypatch.chdir(tmp_path)
    copy = Path("a copy, with 1 : 2.iso")
    copy.write_bytes(source("xorriso").read_bytes())
    found = judged(source("xorriso"), copy)
    assert {tool: (judge.grown, judge.different, judge.missing) for tool, judge in found.items()} == dict.fromkeys(
        ("xorriso", "isoinfo", "sfdisk", "sgdisk", "blkid"), (0, (), "")
    )
    assert all(found[tool].fields >= 5 for tool in ("xorriso", "isoinfo", "sfdisk", "blkid"))


@pytest.mark.parametrize(
    ("at", "tools"),
    [
        (MBR_TYPE, {"xorriso", "sfdisk"}),
        (GPT_GUID, {"xorriso", "sgdisk"}),
        (VOLUME_ID, {"isoinfo"}),
        (VOLUME_DATE, {"blkid"}),
    ],
)
def test_a_spoilt_record_is_found_by_those_who_read_it(at: int, tools: set[str], source: Make, tmp_path: Path) -> None:
    found = judged(source("xorriso"), spoil(source("xorriso"), tmp_path / "spoilt.iso", at))
    assert tools <= {tool for tool, judge in found.items() if judge.different}


def test_a_boot_entry_that_changed_is_found(source: Make, tmp_path: Path) -> None:
    catalog = source("xorriso").read_bytes()
    sector = int.from_bytes(catalog[17 * 2048 + 71 :][:4], "little")
    found = judged(source("xorriso"), spoil(source("xorriso"), tmp_path / "spoilt.iso", sector * 2048 + 32 + 6))
    assert found["xorriso"].different and found["isoinfo"].different


def test_missing_judges_are_named(source: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host without the programs cannot be had here: they are looked for under names that none has."""
    tools = tuple(records._Tool(f"no-{tool.name}", tool.package, tool.before) for tool in records._TOOLS)
    monkeypatch.setattr(records, "_TOOLS", (tools[0], *records._TOOLS[1:]))
    assert judged(source("xorriso"), source("xorriso"))["no-xorriso"].missing == "xorriso"
    monkeypatch.setattr(records, "_TOOLS", tools)
    with pytest.raises(HostLacks, match="no program is installed") as caught:
        judged(source("xorriso"), source("xorriso"))
    assert caught.value.exit_code == 3
    assert caught.value.hint == "apt-get install xorriso genisoimage fdisk gdisk util-linux"


# -- what is awaited

KICKSTART = b"# a kickstart\ntext\nreboot\n" * 300


@pytest.mark.parametrize("how", ["append", "second"])
def test_what_was_put_in_is_awaited(how: How, source: Make, tmp_path: Path) -> None:
    """Files in the initrd must be unpacked by the kernel; one on the medium is the installer's to read."""
    more = b"long enough to be told"
    files = (OverlayFile("/ks.cfg", KICKSTART), OverlayFile("/etc/more", more), OverlayFile("/s", b"s"))
    edits: list[Edit] = [
        Overlay(files, how=how),
        Put("/answers.xml", b"<answers/>" * 9),
        Put("/big.rpm", media.noise(2 << 20, "b")),
    ]
    assert awaited(source("xorriso"), edits, tmp_path) == {
        "/ks.cfg": (KICKSTART, True),
        "/etc/more": (more, True),
        "/answers.xml": (b"<answers/>" * 9, False),
    }


def test_files_behind_a_guard_are_found_again(tmp_path: Path) -> None:
    contents = Contents(b"\x1f\x8bxen", b"kernel", gzip.compress(media.noise(50_001, "image")))
    vendor = build_xcpng(tmp_path / "vendor", contents)
    edits: list[Edit] = [Overlay((OverlayFile("/answerfile.xml", KICKSTART),))]
    assert awaited(vendor, edits, tmp_path) == {"/answerfile.xml": (KICKSTART, True)}


def awaited(vendor: Path, edits: Sequence[Edit], folder: Path) -> dict[str, tuple[bytes, bool]]:
    out, work = folder / "out.iso", folder / "work"
    work.mkdir()
    write_file(plan_edits(vendor, edits), out)
    files = injected(vendor, out, changed_paths(compare(vendor, out)))
    found = {answer.path: (answer.content, answer.required) for answer in found_answers(out, files, work)}
    assert not list(work.iterdir())
    return found


# -- machines


@pytest.fixture(scope="module")
def here() -> Iterator[Bench]:
    with bench() as made:
        yield made


Medium = Callable[[str], Path]


@pytest.fixture(scope="module")
def medium(tmp_path_factory: pytest.TempPathFactory) -> Medium:
    """A medium with that isolinux.cfg."""

    def make(menu: str) -> Path:
        folder = tmp_path_factory.mktemp("medium")
        root = media.tree(folder / "tree")
        (root / "isolinux/isolinux.cfg").write_text(menu)
        return media.build("xorriso", root, folder / "medium.iso")

    return make


BY_BIOS = ("--firmware", "bios", "--as", "cd", "--memory", "64MiB")


def test_a_boot_that_is_lost_is_told_at_once(here: Bench, medium: Medium, tmp_path: Path) -> None:
    iso, out = medium("default linux\nlabel linux\n  kernel gone\n"), tmp_path / "report.json"
    began = time.monotonic()
    done = here.run("media", "prove", iso, *BY_BIOS, "--out", out)
    assert done.returncode == 1, done.stderr
    assert time.monotonic() - began < 60
    boot = json.loads(out.read_text())["boots"][0]
    assert (boot["outcome"], boot["cause"]) == ("failed", "no-kernel")
    # isolinux says so on the screen only; the screen is on the console, too.
    assert any("gone" in line for line in boot["last_lines"])
    assert Path(boot["console"]).parent == tmp_path / "report.boots"
    assert "isolinux finds no kernel" in done.stdout


def test_a_boot_that_waits_for_ever_times_out(here: Bench, medium: Medium) -> None:
    done = here.run("media", "prove", medium("prompt 1\n"), *BY_BIOS, "--timeout-scale", "0.02", "-o", "json")
    assert done.returncode == 4, done.stderr
    boot = json.loads(done.stdout)["boots"][0]
    assert boot["outcome"] == "timeout"
    assert "a kernel that shows its command line" in boot["message"] and "| boot:" in boot["message"]
    assert Path(boot["console"]).is_relative_to(here.places.state / "failures")
    assert Path(boot["screenshot"]).read_bytes()


def start(here: Bench, iso: Path) -> subprocess.Popen[str]:
    """A proof whose machine runs and waits."""
    process = here.start("media", "prove", iso, *BY_BIOS)
    deadline = time.monotonic() + 60
    while not any(here.places.runtime.glob("proof-*/bios-cd/console.log")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    return process


def qemus(here: Bench) -> list[str]:
    return [line for line in here.left() if line.startswith("process") and "qemu" in line]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_proof_leaves_nothing(here: Bench, medium: Medium, signum: signal.Signals) -> None:
    process = start(here, medium("prompt 1\n"))
    assert qemus(here)
    process.send_signal(signum)
    assert process.wait(30) == 130
    process.communicate()
    assert not qemus(here)
    assert not any(here.places.runtime.glob("proof-*"))


def test_a_killed_proof_takes_its_machine_along_and_reap_the_rest(here: Bench, medium: Medium) -> None:
    process = start(here, medium("prompt 1\n"))
    assert qemus(here)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 10
    while qemus(here):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    left = [path.name for path in here.places.runtime.iterdir()]
    assert len(left) == 1
    assert json.loads(here.run("reap", "-o", "json", check=True).stdout) == left
    assert here.left() == [] or all("failures" in line for line in here.left())


# The start of a boot sector: it copies what follows into the memory of a screen in text mode, and halts.
SHOWS = bytes.fromhex("31c0 8ed8 b800b8 8ec0 be1b7c 31ff b41f ac 84c0 7403 ab ebf8 f4 ebfd") + b"what now? "
ASKS = bytes.fromhex("31c0 8ed8 be157c baf803 ac 84c0 7403 ee ebf8 f4 ebfd") + b"\r\nwhat now? "
"""The same for the serial line."""


@pytest.mark.parametrize(("code", "where"), [(SHOWS, "screen"), (ASKS, "console")], ids=["screen", "prompt"])
def test_a_medium_without_a_kernel_shows_a_text(code: bytes, where: str, here: Bench, tmp_path: Path) -> None:
    """On the screen alone, or on the serial console in a line that does not end: a prompt."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/boot.bin").write_bytes(code.ljust(2048, b"\0"))
    made = ("-o", tmp_path / "m.iso", "-b", "boot.bin", "-no-emul-boot", "-boot-load-size", "4", tmp_path / "tree")
    subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", *made], check=True)
    prove = ("media", "prove", tmp_path / "m.iso", "--firmware", "bios", "--as", "cd", "--memory", "64MiB")
    told = json.loads(here.run(*prove, "--expect-text", r"^what now\?", "-o", "json", check=True).stdout)
    assert [(seen["what"], seen["where"]) for seen in told["boots"][0]["texts"]] == [(r"^what now\?", where)]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("missing.iso",), 2, "cannot read missing.iso"),
        ((os.devnull,), 2, "is not a file"),
        ((sys.executable,), 1, "is not an ISO 9660 image"),
        (("{iso}", "--source", sys.executable), 1, "is not an ISO 9660 image"),
        (("{iso}", "--expect-text", "("), 2, "is no regular expression"),
        (("{iso}", "--expect-file", "missing.xml"), 2, "cannot read missing.xml"),
        (("{iso}", "--out", "."), 2, "cannot be written as a file"),
        (("{iso}", "--out", "no/such/folder/report"), 2, "cannot be written as a file"),
        (("{iso}", "--out", "/proc/report.json"), 2, "/proc/report.boots cannot be made"),
        (("{iso}", "--memory", "1TiB"), 3, "MiB of memory and this host has"),
        (("{iso}", "--memory", "1MiB"), 2, "between 64 MiB and 1 TiB"),
    ],
)
def test_what_cannot_be_proven_is_said_before_anything_is_booted(
    arguments: tuple[str, ...], status: int, said: str, here: Bench, source: Make
) -> None:
    words = [word.format(iso=source("xorriso")) for word in arguments]
    done = here.run("media", "prove", *words)
    assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (status, True, False), done.stderr
    assert not any(here.places.runtime.glob("proof-*"))
