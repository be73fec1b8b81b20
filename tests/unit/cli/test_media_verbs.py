"""`nestlab media`: what each verb makes of its options."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from builder.cli.boundary import guarded
from builder.cli.frame import root
from builder.cli.media_edits import Asked, by_hand
from builder.media.edits import Arguments
from builder.media.plan import plan_edits
from builder.media.sinks.inplace import journal_of
from tests.unit.cli.media_here import (  # here and run are fixtures
    KEY,
    RHEL,
    TREEINFO,
    XCPNG,
    Run,
    here_fixture,  # noqa: F401
    run_fixture,  # noqa: F401
)
from tests.unit.media import made


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
    ("file", "name"),
    [("my iso (1).iso", "my-iso-1"), ("el9.4.iso", "el9.4"), ("\u4e2d.iso", "medium")],
)
def test_media_by_hand_have_names_that_menus_and_addresses_take(file: str, name: str) -> None:
    assert by_hand(Path(file), Asked()).name == name


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
