"""An image with answers, hashes or keys is its owner's alone; any other is as the umask says. By every sink."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from builder.media.answer import answer_edits
from builder.media.edits import Arguments, Edit, Extend, Overlay, Put, from_model
from builder.media.errors import MediaError
from builder.media.initrd import OverlayFile, archive
from builder.media.netboot import for_network
from builder.media.plan import plan_edits
from builder.media.recognise import Family, Installer
from builder.media.sinks import apply_in_place, undo_in_place, write_file, write_qcow2
from builder.media.sinks.inplace import journal_of
from builder.model.plan import Answer, MediaEdit
from tests.unit.media import made

HASH = "$6$saltsalt$" + "a" * 86
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"
ANSWER = Answer(name="ks.cfg", content="text\nreboot\n", delivery="initrd")
BY_HAND: dict[Family, str] = {
    "xcpng": "<installation/>", "rhel": "text\nrootpw --plaintext simple\n",
    "debian": "d-i passwd/root-password password simple\n", "suse": "<profile/>",
}  # fmt: skip
SECRET: dict[str, list[Edit]] = {
    "an answer in the initrd": [*from_model((), [ANSWER])],
    "an answer on the medium": [*from_model((), [ANSWER.model_copy(update={"delivery": "iso"})])],
    "a system's script": [*from_model([MediaEdit(kind="add", path="/x.sh", content=f"usermod -p '{HASH}' root\n")])],
    "a hash": [Put("/x", f"root:{HASH}:".encode())],
    "a hash behind": [Extend("/readme.txt", HASH.encode())],
    "a key in the initrd": [Overlay((OverlayFile("/etc/key", KEY.encode()),))],
    "a password in a URL": [Arguments(kernel=("repo=http://me:hidden@mirror.example/",))],
    "a password for Xen": [Arguments(hypervisor=(f"x={HASH}",)), Put("/y", b"")],
    **{f"by hand, {family}": [*answer_edits(Installer(family, "", "", ""), text)] for family, text in BY_HAND.items()},
}
ORDINARY: dict[str, list[Edit]] = {
    "nothing": [],
    "arguments": [Arguments(kernel=("console=ttyS0",))],
    "a public key": [Put("/key.pub", b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA me@example\n")],
    "a file in the initrd": [Overlay((OverlayFile("/etc/motd", b"hello", 0o600),))],
    "a binary": [Put("/x.bin", b"\x7fELF\0" + HASH.encode())],
}
MENU = b"label x\n  kernel mboot.c32\n  append /xen.gz --- /vmlinuz --- /initrd.img\n"


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    files = {**made.FILES, "/isolinux/isolinux.cfg": made.MENU + MENU, "/xen.gz": b"x", "/vmlinuz": b"v"}
    return made.iso(tmp_path_factory.mktemp("made") / "src.iso", {**files, "/initrd.img": archive([])}).read_bytes()


@pytest.fixture
def src(vendor: bytes, tmp_path: Path) -> Path:
    """A vendor's medium, everybody's to read."""
    path = tmp_path / "src.iso"
    path.write_bytes(vendor)
    path.chmod(0o644)
    return path


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    old = os.umask(0o022)
    yield
    os.umask(old)


def no_tmpfile(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has no files without a name: the kernels of today's have them, NFS has not."""
    real = os.open

    def refuse(path: str, flags: int, *more: int, **named: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return real(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", refuse)


def by_file(src: Path, edits: list[Edit], _patch: pytest.MonkeyPatch) -> Path:
    return write_file(plan_edits(src, edits), src.with_name("out.iso")).path


def over_a_file(src: Path, edits: list[Edit], _patch: pytest.MonkeyPatch) -> Path:
    src.with_name("out.iso").write_bytes(b"everybody's")
    return write_file(plan_edits(src, edits), src.with_name("out.iso")).path


def by_a_named_file(src: Path, edits: list[Edit], patch: pytest.MonkeyPatch) -> Path:
    no_tmpfile(patch)
    return write_file(plan_edits(src, edits), src.with_name("out.iso")).path


def by_qcow2(src: Path, edits: list[Edit], _patch: pytest.MonkeyPatch) -> Path:
    return write_qcow2(plan_edits(src, edits), src.with_name("out.qcow2")).path


def in_place(src: Path, edits: list[Edit], _patch: pytest.MonkeyPatch) -> Path:
    return apply_in_place(plan_edits(src, edits)).path


SINKS = [by_file, over_a_file, by_a_named_file, by_qcow2, in_place]
Sink = Callable[[Path, list[Edit], pytest.MonkeyPatch], Path]


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("what", SECRET)
def test_secrets_are_the_owners_alone(what: str, sink: Sink, src: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = sink(src, SECRET[what], monkeypatch)
    assert mode(out) == 0o600


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("what", ORDINARY)
def test_an_ordinary_image_is_as_the_umask_says(
    what: str, sink: Sink, src: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mode(sink(src, ORDINARY[what], monkeypatch)) == 0o644


def test_the_umask_may_be_stricter(src: Path) -> None:
    os.umask(0o077)
    write_file(plan_edits(src, ORDINARY["arguments"]), src.with_name("out.iso"))
    assert mode(src.with_name("out.iso")) == 0o600


@pytest.mark.parametrize(("given", "out"), [(0o600, 0o600), (0o640, 0o640), (0o444, 0o644), (0o604, 0o604)])
def test_an_image_is_no_more_open_than_what_it_is_made_of(given: int, out: int, src: Path, tmp_path: Path) -> None:
    """A local file, and a medium: one that was made before with answers in it looks like any other."""
    local = tmp_path / "local"
    local.write_text("plain")
    local.chmod(given)
    write_file(plan_edits(src, [Put("/local", local)]), tmp_path / "out.iso")
    assert mode(tmp_path / "out.iso") == out
    src.chmod(given)
    for edits in ([], ORDINARY["arguments"]):
        assert mode(write_file(plan_edits(src, edits), tmp_path / "second.iso").path) == out


def test_a_local_key_that_everybody_reads(src: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    assert mode(write_file(plan_edits(src, [Put("/key", tmp_path / "key")]), tmp_path / "out.iso").path) == 0o600


def test_an_image_changed_in_place_is_given_back_as_it_was(src: Path) -> None:
    """Its journal, which holds bytes of it, is as open as it was."""
    apply_in_place(plan_edits(src, SECRET["a hash"]))
    assert (mode(src), mode(journal_of(src))) == (0o600, 0o644)
    undo_in_place(src)
    assert mode(src) == 0o644
    src.chmod(0o640)
    apply_in_place(plan_edits(src, ORDINARY["arguments"]))
    assert (mode(src), mode(journal_of(src))) == (0o640, 0o640)


def test_somebody_elses_image_gets_no_secrets(src: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose group may write it, which does not make it ours; the files of a test are, so the refusal is made up."""

    def refuse(*_args: object, **_named: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    before = src.read_bytes()
    monkeypatch.setattr(os, "fchmod", refuse)
    monkeypatch.setattr(os, "utime", refuse)
    with pytest.raises(MediaError, match="not yours"):
        apply_in_place(plan_edits(src, SECRET["a hash"]))
    assert src.read_bytes() == before
    assert not journal_of(src).exists()
    apply_in_place(plan_edits(src, ORDINARY["arguments"]))
    undo_in_place(src)
    assert src.read_bytes() == before


def test_answers_stay_secret_on_their_way_into_the_initrd() -> None:
    edits = for_network(from_model((), [ANSWER]), {"/autoinst.xml": b"<profile/>"})
    (overlay,) = (edit for edit in edits if isinstance(edit, Overlay))
    assert {file.path: file.secret for file in overlay.files} == {"/ks.cfg": True, "/autoinst.xml": True}
