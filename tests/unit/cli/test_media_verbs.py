"""`nestlab media`: what each verb makes of its options, and of everything that is wrong with them."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from builder.cli.boundary import guarded
from builder.cli.frame import root
from builder.media.edits import Arguments, Put
from builder.media.plan import plan_edits
from builder.media.sinks.inplace import journal_of
from tests.unit.media import made

Run = Callable[..., Result]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA" + "B" * 44 + " somebody@example"
TREEINFO = b"[release]\nname = Rocky Linux\nversion = 9.4\n[general]\nfamily = Rocky Linux\n"
RHEL = {**made.FILES, "/.treeinfo": TREEINFO}
XCPNG_MENU = (
    b"label install\n  kernel mboot.c32\n  append /boot/xen.gz dom0_mem=1G --- /boot/vmlinuz xencons=hvc console=tty0 "
    b"--- /install.img\n"
)
XCPNG = {
    "/boot/isolinux/isolinux.cfg": XCPNG_MENU,
    "/boot/xen.gz": b"\x1f\x8b" + b"xen" * 99,
    "/boot/vmlinuz": b"kernel" * 99,
    "/install.img": b"BZh9" + b"install" * 300,
    "/.treeinfo": b"[platform]\nname = XCP\n[branding]\nname = XCP-ng\nversion = 8.3.0\n",
}
LAB = """
name: metal
nodes:
  xen: {system: xcpng, release: 8.3, memory: 8GiB, disks: [{name: a, size: 100GiB}], source: {medium: xcpng.iso}}
  el: {system: rhel, release: el9, memory: 4GiB, disks: [{name: a, size: 100GiB}], source: {medium: rhel.iso}}
  ready: {system: debian}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a medium of each kind and a lab that uses them; it is the working directory."""
    made.iso(tmp_path / "rhel.iso", RHEL)
    made.iso(tmp_path / "xcpng.iso", XCPNG, boot=False)
    (tmp_path / "lab.yaml").write_text(LAB)
    (tmp_path / "key.pub").write_text(KEY + "\n")
    (tmp_path / "ks.cfg").write_text("text\nrootpw --lock\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(here: Path) -> Run:
    env = {"NESTLAB_STATE": str(here / "s"), "NESTLAB_CACHE": str(here / "c"), "NESTLAB_RUNTIME": str(here / "r")}
    runner = CliRunner(env=env)
    return lambda *arguments: runner.invoke(
        root, ["media", *map(str, arguments)], standalone_mode=False, catch_exceptions=False
    )


def listing(path: Path) -> dict[str, Any]:
    """What `inspect -o json` tells of a medium."""
    result = CliRunner().invoke(root, ["media", "inspect", str(path), "-o", "json"], standalone_mode=False)
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def arguments(path: Path) -> list[str]:
    """The kernel's, of the first entry of the first menu."""
    found: list[str] = listing(path)["menus"][0]["entries"][0]["arguments"]
    return found


# -- inspect


def test_inspect_in_every_form(run: Run) -> None:
    table = run("inspect", "xcpng.iso").stdout
    assert "XCP-ng 8.3.0 (xcpng, by /.treeinfo)" in table
    assert "/boot/vmlinuz xencons=hvc console=tty0" in table
    assert "bzip2" in table
    found = json.loads(run("inspect", "xcpng.iso", "-o", "json").stdout)
    assert (found["installer"]["family"], found["volume_id"]) == ("xcpng", "MADE")
    assert found["initrds"][0] == {"path": "/install.img", "size": 2104, "packing": "bzip2", "module": True}
    assert run("inspect", "xcpng.iso", "-o", "yaml").stdout.startswith("path: xcpng.iso\n")


STEERS = b"label \x1b]0;owned\x07\xff\n  kernel vmlinuz\n  append initrd=initrd.img \x1b[2J\n"


@pytest.mark.parametrize(
    ("argv", "status"),
    [
        (("inspect", "bad.iso"), 0),
        (("build", "--iso", "bad.iso", "-o", "out.iso", "--append", "a=1"), 0),
        (("build", "--iso", "bad.iso", "-o", "out.iso", "--append", "a=1", "--title", "other"), 1),
    ],
)
def test_a_medium_cannot_steer_the_terminal(
    argv: tuple[str, ...], status: int, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not by what is told of it, and not by what is told when it fails."""
    made.iso(here / "bad.iso", {**made.FILES, "/isolinux/isolinux.cfg": STEERS, "/isolinux/\x1bx.cfg": STEERS})
    assert guarded(["media", *argv]) == status
    said = "".join(capsys.readouterr())
    assert "owned" in said or "x.cfg" in said
    assert not set(said) & {"\x1b", "\x07", "\udcff"}


def test_secrets_of_boot_arguments_are_blanked(run: Run, here: Path) -> None:
    menu = b"label x\n  kernel vmlinuz\n  append initrd=initrd.img repo=http://me:hidden@mirror.example/\n"
    made.iso(here / "own.iso", {**made.FILES, "/isolinux/isolinux.cfg": menu})
    for how in ("table", "json", "yaml"):
        said = run("inspect", "own.iso", "-o", how).stdout
        assert "mirror.example" in said
        assert "hidden" not in said


# -- build, by hand


def test_build_by_hand(run: Run, here: Path) -> None:
    (here / "more").mkdir()
    (here / "more/a").write_text("A")
    (here / "more/deep").mkdir()
    (here / "more/deep/b").write_text("B")
    said = run("build", "--iso", "rhel.iso", "-o", "out.iso", "--append", "a=1 b", "--append", "c", "--remove", "quiet",
               "--add", "key.pub:/keys/", "--add", "more:/more", "--add-initrd", "ks.cfg:/etc/x").stdout  # fmt: skip
    assert "out.iso" in said
    assert "/keys/key.pub" in said
    assert arguments(here / "out.iso") == ["a=1", "b", "c"]
    names = ["/keys/key.pub", "/more/a", "/more/deep/b"]
    assert made.contents(here / "out.iso", names) == {names[0]: KEY.encode() + b"\n", names[1]: b"A", names[2]: b"B"}


def test_the_sink_follows_the_options(run: Run, here: Path) -> None:
    before = (here / "rhel.iso").read_bytes()
    run("build", "--iso", "rhel.iso", "-o", "a.iso", "--append", "x")
    run("build", "--iso", "rhel.iso", "-o", "b.qcow2", "--append", "x")
    run("build", "--iso", "rhel.iso", "-o", "c.iso", "--format", "qcow2", "--append", "x")
    assert (here / "a.iso").read_bytes()[32769:32774] == b"CD001"
    for name in ("b.qcow2", "c.iso"):
        assert (here / name).read_bytes().startswith(b"QFI\xfb")
    assert (here / "rhel.iso").read_bytes() == before
    run("build", "--iso", "rhel.iso", "--in-place", "--append", "x")
    assert (here / "rhel.iso").read_bytes() == (here / "a.iso").read_bytes()
    assert journal_of(here / "rhel.iso").exists()
    assert "put back" in run("undo", "rhel.iso").stdout
    assert (here / "rhel.iso").read_bytes() == before


def test_dry_run_writes_nothing(run: Run, here: Path) -> None:
    before = sorted(here.iterdir())
    said = run("build", "--iso", "rhel.iso", "--append", "x=1", "--dry-run").stdout
    assert "menu edited" in said
    run("build", "lab.yaml", "el", "-o", "out.iso", "--dry-run")
    assert sorted(here.iterdir()) == before


def test_standard_output(capfdbinary: pytest.CaptureFixture[bytes], here: Path) -> None:
    """By the real entry point: the stream is the process' own. What is said besides goes to stderr."""
    assert guarded(["media", "build", "--iso", "rhel.iso", "-o", "-", "--append", "x=1"]) == 0
    out, err = capfdbinary.readouterr()
    with plan_edits(here / "rhel.iso", [Arguments(kernel=("x=1",))]).open() as image:
        assert out == image.read(0, image.size)
    assert b"menu edited" in err


def test_a_terminal_gets_no_image(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        """Stands for a terminal, which a test run does not have."""

        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdout", Terminal())
    assert guarded(["media", "build", "--iso", str(here / "rhel.iso"), "-o", "-", "--append", "x"]) == 2
    assert "terminal" in capsys.readouterr().err


def test_the_bill_lists_what_was_put_in(run: Run, here: Path) -> None:
    run("build", "--iso", "rhel.iso", "-o", "out.iso", "--answer", "ks.cfg", "--sbom", "out.json")
    bill = json.loads((here / "out.json").read_text())
    assert bill["metadata"]["component"]["name"] == "out.iso"
    inside = {part["name"] for item in bill["components"] for part in item.get("components", [])}
    assert inside == {"/ks.cfg"}


# -- build, for a node


def test_a_node_of_xcpng(run: Run, here: Path) -> None:
    run("build", "lab.yaml", "xen", "-o", "out.iso", "--append", "extra=1")
    given = arguments(here / "out.iso")
    assert "rt_answerfile=file:///answerfile.xml" in given
    assert given[-1] == "extra=1"
    data = made.content(here / "out.iso", "/install.img")
    assert data.startswith(XCPNG["/install.img"])
    assert b"<installation" in data
    assert not list(here.glob("out-*.iso"))


def test_a_node_that_needs_a_second_volume(run: Run, here: Path) -> None:
    said = run("build", "lab.yaml", "el", "-o", "out.iso", "--ssh-key", "key.pub").stdout
    assert "out-oemdrv.iso: second volume OEMDRV" in said
    assert "inst.ks=hd:LABEL=OEMDRV:/ks.cfg" in arguments(here / "out.iso")
    volume = here / "out-oemdrv.iso"
    assert listing(volume)["volume_id"] == "OEMDRV"
    assert KEY.encode() in made.content(volume, "/ks.cfg")
    assert volume.stat().st_mode & 0o077 == 0
    run("volume", "lab.yaml", "el", "-o", "again.iso")
    assert listing(here / "again.iso")["volume_id"] == "OEMDRV"


def test_another_systems_medium_is_refused(run: Run, here: Path) -> None:
    assert_refused(
        ["build", "lab.yaml", "el", "--iso", "xcpng.iso", "-o", "out.iso"], "XCP-ng 8.3.0, and el is rhel", here
    )


def test_another_release_is_remarked_on(run: Run, here: Path) -> None:
    old = {**RHEL, "/.treeinfo": TREEINFO.replace(b"9.4", b"8.10")}
    made.iso(here / "el8.iso", old)
    assert (
        "Rocky Linux 8.10, and el is release el9"
        in run("build", "lab.yaml", "el", "--iso", "el8.iso", "-o", "o.iso").stderr
    )


# -- answers by hand


def test_an_answer_and_a_key_by_hand(run: Run, here: Path) -> None:
    run("build", "--iso", "rhel.iso", "-o", "out.iso", "--answer", "ks.cfg", "--ssh-key", "key.pub")
    assert "inst.ks=file:/ks.cfg" in arguments(here / "out.iso")
    data = made.content(here / "out.iso", "/isolinux/initrd.img")
    assert f"sshkey --username=root '{KEY}'\n".encode() in data
    assert b"rootpw --lock" in data


# -- volumes and boot trees


@pytest.mark.parametrize(
    ("option", "label", "path"),
    [
        ("--kickstart", "OEMDRV", "/ks.cfg"), ("--autoyast", "OEMDRV", "/autoinst.xml"),
        ("--preseed", "NESTLAB", "/preseed.cfg"),
    ],
)  # fmt: skip
def test_volumes(option: str, label: str, path: str, run: Run, here: Path) -> None:
    run("volume", option, "ks.cfg", "-o", "v.iso", "--add", "key.pub:/x/")
    assert listing(here / "v.iso")["volume_id"] == label
    assert made.contents(here / "v.iso", [path, "/x/key.pub"])[path] == (here / "ks.cfg").read_bytes()


def test_a_volume_for_cloud_init(run: Run, here: Path) -> None:
    (here / "user").write_text("#cloud-config\nhostname: x\n")
    run("volume", "--user-data", "user", "-o", "v.iso")
    assert listing(here / "v.iso")["volume_id"] == "cidata"
    assert made.content(here / "v.iso", "/meta-data").startswith(b"instance-id: nestlab-")


# -- what goes wrong


def assert_refused(argv: Sequence[str | Path], words: str, here: Path) -> None:
    """By the boundary that users meet: a message, no traceback, and nothing written."""
    before = {path: path.stat().st_mtime_ns for path in here.rglob("*")}
    err = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stderr", err)
        status = guarded(["media", *map(str, argv)])
    said = err.getvalue()
    assert status in {1, 2, 3}, said
    assert words in said
    assert "Traceback" not in said
    assert {path: path.stat().st_mtime_ns for path in here.rglob("*")} == before


BUILD = ("build", "--iso", "rhel.iso")
REFUSED: list[tuple[tuple[str, ...], str]] = [
    (("inspect", "absent"), "No such file"),
    (("inspect", "folder"), "folder"),
    (("inspect", "empty"), "too short"),
    (("inspect", "garbage"), "not an ISO 9660 image"),
    (("inspect", "pipe"), "not a file"),
    (("inspect", "huge"), "not an ISO 9660 image"),
    (("build", "-o", "x"), "which medium?"),
    (BUILD, "where to?"),
    ((*BUILD, "--in-place", "-o", "x"), "--in-place has no --out"),
    ((*BUILD, "-o", "-", "--format", "qcow2"), "cannot be streamed"),
    ((*BUILD, "-o", "rhel.iso"), "the source itself"),
    ((*BUILD, "-o", "folder"), "is a folder"),
    ((*BUILD, "-o", "pipe"), "not a regular file"),
    ((*BUILD, "-o", "link"), "symbolic link"),
    ((*BUILD, "-o", "absent/x"), "is not there"),
    ((*BUILD, "-o", "x", "--sbom", "x"), "two of the files"),
    ((*BUILD, "-o", "x", "--sbom", "rhel.iso"), "the source itself"),
    ((*BUILD, "-o", "x", "--sbom", "pipe"), "not a regular file"),
    ((*BUILD, "-o", "ks.cfg", "--add", "ks.cfg:/ks"), "a file that goes on the medium"),
    ((*BUILD, "-o", "x", "--add", "ks.cfg"), "LOCAL:/IN/IMAGE"),
    ((*BUILD, "-o", "x", "--add", "absent:/x"), "No such file"),
    ((*BUILD, "-o", "x", "--add", "pipe:/x"), "neither a file nor a folder"),
    ((*BUILD, "-o", "x", "--add", "links:/x"), "neither a file nor a folder"),
    ((*BUILD, "-o", "x", "--add-initrd", "pipe:/x"), "neither a file nor a folder"),
    ((*BUILD, "-o", "x", "--answer", "empty"), "empty or not text"),
    ((*BUILD, "-o", "x", "--answer", "garbage"), "not text in UTF-8"),
    ((*BUILD, "-o", "x", "--answer", "huge"), "more than"),
    ((*BUILD, "-o", "x", "--answer", "pipe"), "neither a file nor a folder"),
    ((*BUILD, "-o", "x", "--answer", "lab.yaml", "--ssh-key", "private"), "private key"),
    ((*BUILD, "-o", "x", "--answer", "ks.cfg", "--ssh-key", "ks.cfg"), "not a public key"),
    ((*BUILD, "-o", "x", "--ssh-key", "key.pub"), "give --answer"),
    ((*BUILD, "-o", "x", "--title", "nobody", "--append", "x"), "no boot entry is called nobody"),
    ((*BUILD, "-o", "x", "--title", "linux"), "--title says which entries"),
    ((*BUILD, "-o", "x", "--append-xen", "x=1"), "no boot entry loads a hypervisor"),
    ((*BUILD, "-o", "x", "--initrd", "repack"), "none are given"),
    (("build", "lab.yaml", "-o", "x"), "made for one node"),
    (("build", "lab.yaml", "nobody", "-o", "x"), "has no node nobody"),
    (("build", "lab.yaml", "ready", "-o", "x"), "needs no medium"),
    (("build", "lab.yaml", "el", "-o", "x", "--answer", "ks.cfg"), "made from the lab file"),
    (("build", "lab.yaml", "el", "-o", "x", "--volume", "x"), "two of the files"),
    ((*BUILD, "-o", "x", "--volume", "y"), "no second volume is needed"),
    (("build", "lab.yaml", "el", "-o", "x", "--mac", "zz"), "'zz' is no MAC address"),
    (("build", "lab.yaml", "el", "-o", "x", "--mac", "other=3c:ec:ef:00:00:01"), "has no node other"),
    ((*BUILD, "-o", "x", "--mac", "3c:ec:ef:00:00:01"), "--mac is for a node's answers"),
    (("serve", "lab.yaml", "--mac", "3c:ec:ef:00:00:01"), "whose card is it?"),
    (("volume", "-o", "v.iso", "--kickstart", "ks.cfg", "--ssh-key", "key.pub"), "are for LAB NODE"),
    (("undo", "rhel.iso"), "there is no rhel.iso.undo"),
    (("undo", "absent"), "not a regular file"),
    (("undo", "spoilt.iso"), "not an undo journal"),
    (("serve",), "which medium?"),
    (("serve", "--iso", "absent"), "No such file"),
    (("serve", "--iso", "rhel.iso", "--host", "no.such.host.invalid"), "cannot listen"),
    (("serve", "lab.yaml", "nobody"), "has no node nobody"),
    (("write", "rhel.iso", "absent"), "cannot look at"),
    (("write", "rhel.iso", "ks.cfg"), "is not a disk"),
    (("write", "absent", "ks.cfg"), "No such file"),
    (("volume", "-o", "v.iso"), "nothing to put on it"),
    (("volume", "-o", "link", "--kickstart", "ks.cfg"), "symbolic link"),
    (("volume", "-o", "pipe", "--kickstart", "ks.cfg"), "not a regular file"),
    (("volume", "-o", "v.iso", "--kickstart", "ks.cfg", "--preseed", "ks.cfg"), "one kind of answers"),
    (("volume", "-o", "v.iso", "--meta-data", "ks.cfg"), "belong to --user-data"),
    (("volume", "-o", "v.iso", "--user-data", "ks.cfg"), "first line"),
    (("volume", "-o", "v.iso", "--kickstart", "ks.cfg", "--label", "a b"), "label"),
    (("volume", "lab.yaml", "xen", "-o", "v.iso"), "needs no second volume"),
    (("pxe", "--iso", "rhel.iso", "--out", "net"), "fetches the rest of itself"),
    (("pxe", "--iso", "rhel.iso", "--out", "net", "--source", "http://x/", "--mac", "zz"), "no MAC address"),
]  # fmt: skip


@pytest.fixture
def clutter(here: Path) -> Path:
    """Everything that is not what it is taken for."""
    (here / "folder").mkdir()
    (here / "empty").touch()
    (here / "garbage").write_bytes(bytes(range(256)) * 400)
    os.mkfifo(here / "pipe")
    (here / "huge").touch()
    os.truncate(here / "huge", 5 << 30)
    (here / "link").symlink_to("ks.cfg")
    (here / "links").mkdir()
    (here / "links/out").symlink_to("/etc/hostname")
    (here / "private").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n")
    (here / "spoilt.iso").write_bytes(b"x")
    (here / "spoilt.iso.undo").write_bytes(b"junk")
    return here


@pytest.mark.parametrize(("argv", "words"), REFUSED, ids=[" ".join(argv) for argv, _words in REFUSED])
def test_refusals(argv: tuple[str, ...], words: str, clutter: Path) -> None:
    assert_refused(argv, words, clutter)


def test_a_file_that_may_not_be_read(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so that the kernel's refusal is made up."""

    def refuse(*_args: object, **_kwargs: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    assert_refused(("inspect", "rhel.iso"), "Permission denied", here)


def test_what_cannot_be_done_in_a_menu_changes_nothing(run: Run, here: Path) -> None:
    for word in ("a\nb", "x" * 3000):
        assert_refused((*BUILD, "-o", "x.iso", "--append", word) if "\n" not in word else
                       (*BUILD, "-o", "x.iso", "--append", "a\x01b"), "argument", here)  # fmt: skip
    plan = plan_edits(here / "rhel.iso", [Put("/a", b"b")])
    assert plan.touched
