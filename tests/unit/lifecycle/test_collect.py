"""What is asked of hosts, and what becomes of those that do not answer; real hosts answer in the integration tests."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest

from builder.errors import LabError, TimedOut, UsageError
from builder.lifecycle import collect as module
from builder.lifecycle.collect import QUESTIONS, collect
from builder.lifecycle.evidence import blanked, copy_evidence
from builder.lifecycle.plan import LabPlan, plan_lab
from builder.lifecycle.state import LabFolder
from builder.model.host import Host
from builder.model.lab import Lab
from builder.paths import Places
from builder.systems import load_system
from tests.support.fake_host import FakeHost
from tests.support.netbsd import netbsd_node
from tests.support.rhel import HASH, text_file
from tests.support.suse import suse_node
from tests.support.xcpng import xcpng_node


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "state", tmp_path / "cache", tmp_path / "run")


@pytest.fixture
def failed(places: Places) -> Path:
    """What a lab left that did not come up."""
    folder = places.state / "failures/broken"
    (folder / "nodes/a").mkdir(parents=True)
    (folder / "nodes/a/console.log").write_text("panic\n")
    (folder / "events.jsonl").write_text("{}\n")
    return folder


def asked(host: Host, folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    silent: dict[str, str] = {}
    module._ask(host, folder / host.name, 1, silent)
    return {path.name: path.read_text("utf-8") for path in (folder / host.name).iterdir()}, silent


@pytest.mark.parametrize("dialect", QUESTIONS)
def test_every_question_is_one_that_shells_understand(dialect: str) -> None:
    for name, words in QUESTIONS[dialect].items():
        assert name.endswith((".txt", ".log"))
        for shell in ("sh", "bash"):
            subprocess.run([shell, "-n", "-c", words], check=True)
    assert set(QUESTIONS["none"]) < set(QUESTIONS["xl"]) < set(QUESTIONS["xe"])


def test_answers_are_kept_with_what_went_wrong_and_missing_programs_left_out(tmp_path: Path) -> None:
    host = FakeHost({"sh -c 'xl dmesg'": "(XEN) hello\n", "sh -c dmesg": 3})
    said, silent = asked(host, tmp_path)
    assert said["xen.log"] == "(XEN) hello\n"
    assert said["kernel.log"].endswith("(ended with status 3)\n")
    assert set(said) == {"xen.log", "kernel.log"} and silent == {} and host.changes == []


def test_a_host_that_hangs_is_not_asked_on(tmp_path: Path) -> None:
    def hang(argv: Sequence[str]) -> str:
        raise TimedOut("the end of it", seconds=60, node="dom0")

    said, silent = asked(FakeHost({"sh -c 'cat /proc/cmdline'": "root=x\n", "sh -c dmesg": hang}), tmp_path)
    assert set(said) == {"boot-arguments.txt"}
    assert "waited 60 s" in silent["dom0"]


def test_of_a_lab_that_did_not_come_up_its_failure(places: Places, failed: Path, tmp_path: Path) -> None:
    done = collect("broken", places, tmp_path / "out")
    assert done.files == ("events.jsonl", "nodes/a/console.log") and done.silent == {}
    assert done.folder.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(failed)
    assert (done.folder / "nodes/a/console.log").read_text() == "panic\n"


MARKER = "the-marker-of-a-script"
SHA1 = "$sha1$24680$saltsalt$" + "b" * 28
CODE = "ABC-123-registered"
KEY_LINE = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU"


def secret_lab() -> LabPlan:
    """Hosts with the hash of a password, scripts, a password in an address, a registration."""
    script = {"file": text_file(f"#!/bin/sh\ncurl -H 'X-Key: {MARKER}' http://192.0.2.1/\n")}
    nodes = (
        xcpng_node(install={"root_password": HASH, "at_files": [script], "sources": ["http://me:its-password@x/"]}),
        suse_node("sles15", install={"registration": {"code": CODE}, "post": [script]}).model_copy(
            update={"name": "host-b"}
        ),
        netbsd_node(install={"root_password": SHA1}).model_copy(update={"name": "host-c"}),
    )
    lab = Lab(name="secret", description="", expires=0, networks=(), nodes=nodes)
    return plan_lab(lab, load_system)


SECRETS = (HASH, SHA1, MARKER, CODE, "its-password", "of-vnc", "of-ssh", KEY_LINE, "of-xenstore", "f" * 32)
CONSOLE = f"""\
Kernel command line: answerfile=file:///x sshpassword=of-ssh nestlab.hooks=http://10.0.2.2:40000/{"f" * 32} quiet\r
root:{HASH}:19000:0:99999:7:::\r
-----BEGIN OPENSSH PRIVATE KEY-----\r
{KEY_LINE}\r
-----END OPENSSH PRIVATE KEY-----\r
login: \udcff\r
"""


def keepers_folder(places: Places) -> Path:
    """What a keeper leaves of that lab, with what must not be handed on."""
    folder = LabFolder(places, "secret")
    for name in ("host-a", "host-b", "host-c"):
        folder.node(name)
    folder.write_plan(secret_lab())
    host = folder.node("host-a")
    (host / "console.log").write_bytes(CONSOLE.encode(errors="surrogateescape"))
    (host / "installer.log").write_text(f"Password hash is {HASH}\n")
    (host / "domain.xml").write_text("<domain><graphics type='vnc' passwd='of-vnc'/></domain>\n")
    (host / "screen.png").write_bytes(b"\x89PNG\r\n\x1a\n\xff")
    for name in ("ssh/id_ed25519", "ssh/host_ed25519", "medium/volume.iso", "disks/disk0.qcow2", "steps.json"):
        (host / name).parent.mkdir(exist_ok=True)
        (host / name).write_text(MARKER)
    (folder.path / "keeper.log").write_text(f"root_password={HASH}\n")
    (folder.path / "events.jsonl").write_text('{"v":1,"seq":1,"data":{"text":"token=of-ssh"}}\n{"v":1,"se')
    return folder.path


COPIED = [
    "events.jsonl", "keeper.log", "lab.json", "nodes/host-a/console.log", "nodes/host-a/domain.xml",
    "nodes/host-a/installer.log", "nodes/host-a/screen.png", "plan.json",
]  # fmt: skip


def below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_evidence_holds_no_secret_and_says_what_it_said(places: Places, tmp_path: Path) -> None:
    folder = keepers_folder(places)
    assert all(secret.encode() in b"".join(below(folder).values()) for secret in SECRETS[:8])
    copy_evidence(folder, tmp_path / "out")
    copied = below(tmp_path / "out")
    assert list(copied) == COPIED
    for name, content in copied.items():
        assert [secret for secret in SECRETS if secret.encode() in content] == [], name
    planned, told = secret_lab(), LabPlan.model_validate_json(copied["plan.json"])
    assert [step.key for step in told.steps] == [step.key for step in planned.steps]
    assert told.nodes[0].system.boots == planned.nodes[0].system.boots
    (answers,) = {answer.content for answer in told.nodes[0].system.answers if answer.name == "answerfile.xml"}
    assert answers.startswith("*** (") and answers.endswith(" characters)")
    assert told.lab.nodes[0].install["root_password"].startswith("***")
    assert json.loads(copied["lab.json"])["nodes"][1]["install"]["registration"]["code"].startswith("***")
    assert copied["nodes/host-a/console.log"].decode(errors="surrogateescape").split("\r\n")[1:] == [
        "root:***:19000:0:99999:7:::", "***", "login: \udcff", "",
    ]  # fmt: skip
    ElementTree.fromstring(copied["nodes/host-a/domain.xml"])
    assert copied["nodes/host-a/screen.png"] == (folder / "nodes/host-a/screen.png").read_bytes()
    assert copied["events.jsonl"] == b'{"v":1,"seq":1,"data":{"text":"token=***"}}\n{"v":1,"se'


def test_findings_keep_their_codes(tmp_path: Path) -> None:
    """`code` is a secret of a registration alone."""
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab/state.json").write_text('{"findings": [{"code": "NLX082"}], "registration": {"code": "A-1"}}')
    copy_evidence(tmp_path / "lab", tmp_path / "out")
    assert json.loads((tmp_path / "out/state.json").read_text()) == {
        "findings": [{"code": "NLX082"}], "registration": {"code": "*** (3 characters)"},
    }  # fmt: skip


def test_a_key_without_its_end_does_not_swallow_a_console() -> None:
    lines = ["-----BEGIN PRIVATE KEY-----", *(f"line {number}" for number in range(300))]
    assert blanked("\n".join(lines)).splitlines()[-1] == "line 299"


def test_a_failure_that_was_kept_with_its_secrets_is_handed_on_without(places: Places, tmp_path: Path) -> None:
    """Earlier versions kept them."""
    shutil.copytree(keepers_folder(places), places.state / "failures/old")
    for name in ("ssh", "medium", "disks", "steps.json"):
        path = places.state / "failures/old/nodes/host-a" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    done = collect("old", places, tmp_path / "out")
    assert list(done.files) == COPIED
    for name, content in below(done.folder).items():
        assert [secret for secret in SECRETS if secret.encode() in content] == [], name


def test_answers_of_hosts_are_kept_without_secrets(tmp_path: Path) -> None:
    host = FakeHost({
        "sh -c 'xenstore-ls -f'": '/local/domain/0/backend/vfb/3/0/vncpasswd = "of-xenstore"   (n0,r3)\n',
        "sh -c 'cat /proc/cmdline'": "root=x sshpassword=of-ssh\n",
    })  # fmt: skip
    said, _ = asked(host, tmp_path)
    assert said["xenstore.txt"] == '/local/domain/0/backend/vfb/3/0/vncpasswd = "***"   (n0,r3)\n'
    assert said["boot-arguments.txt"] == "root=x sshpassword=***\n"


def test_nothing_is_overwritten_and_nothing_left_half(places: Places, failed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(UsageError, match="is there already"):
        collect("broken", places, out)
    with pytest.raises(LabError, match="lab other is not up, and no failure of it was kept"):
        collect("other", places, tmp_path / "x")
    with pytest.raises(LabError, match="cannot be written"):
        collect("broken", places, failed / "events.jsonl/below")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "state"]
