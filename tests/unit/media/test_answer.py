"""Answer files by hand: what each installer gets, and what it would not understand."""

from __future__ import annotations

import shlex

import pytest

from builder.media.answer import answer_edits, public_key
from builder.media.edits import Arguments, Edit, Overlay, Put
from builder.media.errors import MediaError
from builder.media.recognise import Family, Installer
from tests.support.rhel import parsed

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA" + "B" * 44 + ' it\'s "mine"'
ANSWERS: dict[Family, str] = {
    "xcpng": "<?xml version='1.0'?>\n<installation>\n<primary-disk>sda</primary-disk>\n</installation>\n",
    "rhel": "text\nrootpw --lock\n",
    "debian": "d-i debian-installer/locale string en_US\n",
    "suse": '<?xml version="1.0"?>\n<profile></profile>\n',
    "netbsd": "#!/bin/sh\nexit 0\n",
}


def files(edits: tuple[Edit, ...]) -> dict[str, str]:
    return {file.path: file.content.decode() for e in edits if isinstance(e, Overlay) for file in e.files}


def words(edits: tuple[Edit, ...]) -> tuple[str, ...]:
    return tuple(word for edit in edits if isinstance(edit, Arguments) for word in edit.kernel)


@pytest.mark.parametrize(
    ("installer", "path", "arguments"),
    [
        (Installer("xcpng", "XCP-ng", "8.3.0"), "/answerfile.xml", ("install", "rt_answerfile=file:///answerfile.xml")),
        (Installer("rhel", "Rocky Linux", "9.4"), "/ks.cfg", ("inst.ks=file:/ks.cfg",)),
        (Installer("rhel", "CentOS", "6.10"), "/ks.cfg", ("ks=file:/ks.cfg",)),
        (Installer("debian", "Debian GNU/Linux", "12"), "/preseed.cfg", ("auto=true", "priority=critical")),
        (Installer("suse", "openSUSE-Leap", "15.6"), "/autoinst.xml", ("autoyast=file:///autoinst.xml",)),
    ],
)
def test_where_each_installer_looks(installer: Installer, path: str, arguments: tuple[str, ...]) -> None:
    answer = ANSWERS[installer.family]
    edits = answer_edits(installer, answer)
    assert files(edits) == {path: answer}
    assert words(edits) == arguments


def test_netbsd_starts_a_script_of_the_medium() -> None:
    assert answer_edits(Installer("netbsd", "NetBSD", "10.1"), ANSWERS["netbsd"]) == (
        Put("/install.sh", ANSWERS["netbsd"].encode(), "old", 0o555, secret=True),
    )


@pytest.mark.parametrize("family", ANSWERS)
def test_another_installers_answer_is_refused(family: Family) -> None:
    for other, answer in ANSWERS.items():
        if other != family and not (family == "rhel" and not answer.startswith("<")):
            with pytest.raises(MediaError, match="the answer file is not"):
                answer_edits(Installer(family), answer)


def test_what_cannot_be_answered() -> None:
    with pytest.raises(MediaError, match="installer is not known"):
        answer_edits(Installer("unknown"), "text\n")
    with pytest.raises(MediaError, match="Agama"):
        answer_edits(Installer("suse", "openSUSE Leap", "16.0"), ANSWERS["suse"])
    for family in ("suse", "netbsd"):
        with pytest.raises(MediaError, match="key"):
            answer_edits(Installer(family), ANSWERS[family], [KEY])
    with pytest.raises(MediaError, match="restore takes no keys"):
        answer_edits(Installer("xcpng"), "<restore></restore>", [KEY])
    with pytest.raises(MediaError, match="late_command"):
        answer_edits(Installer("debian"), "d-i preseed/late_command string true\n", [KEY])


@pytest.mark.parametrize(("release", "handler"), [("9.4", "el9"), ("8.10", "el8"), ("44", "f44")])
def test_keys_in_a_kickstart(release: str, handler: str) -> None:
    """By pykickstart: the key arrives as one value, its quotes too."""
    (text,) = files(answer_edits(Installer("rhel", "x", release), ANSWERS["rhel"], [KEY])).values()
    found, warned = parsed(text, handler)
    assert [(row.username, row.key) for row in found.sshkey.sshUserList] == [("root", KEY)]
    assert warned == []


@pytest.mark.parametrize(("release", "handler"), [("6.10", "el6"), ("7.9", "el7")])
def test_keys_for_kickstarts_that_have_no_word_for_them(release: str, handler: str) -> None:
    (text,) = files(answer_edits(Installer("rhel", "x", release), "text\nreboot\n", [KEY])).values()
    (script,) = parsed(text, handler)[0].scripts
    assert ["echo", KEY, ">>", "/root/.ssh/authorized_keys"] in [shlex.split(row) for row in script.script.splitlines()]


@pytest.mark.parametrize(("family", "root"), [("xcpng", "$root"), ("debian", "/target")])
def test_keys_by_a_script(family: Family, root: str) -> None:
    made = files(answer_edits(Installer(family), ANSWERS[family], [KEY]))
    (name,) = [path for path in made if path.endswith(".sh")]
    answer = next(text for path, text in made.items() if path != name)
    assert name in answer
    lines = [shlex.split(row) for row in made[name].splitlines()[1:]]
    assert ["echo", KEY, ">>", f"{root}/root/.ssh/authorized_keys"] in lines


@pytest.mark.parametrize(
    "text", ["", "two\nlines\n", "ssh-ed25519", "ssh-ed25519 short x", f"{KEY}\n{KEY}\n", "x" * 400]
)
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(MediaError, match="not a public key"):
        public_key(text, "id.pub")


def test_keys_are_public() -> None:
    assert public_key(f"# mine\n\n{KEY}\n", "id.pub") == KEY
    with pytest.raises(MediaError, match="private key"):
        public_key("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n", "id")
