"""`nestlab explain` of the names by which `up` and `media prove` call failures, and of logs."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from builder.cli import codes
from builder.cli.failures import causes_listed, causes_named
from builder.cli.frame import root
from builder.drivers.ends import ENDS
from builder.errors import LabError, UsageError
from builder.lifecycle.media_proof_follow import CAUSES
from builder.systems import SYSTEMS, failures
from builder.systems.causes import GUESTS
from tests.support.repo import some

PACKAGE = Path(codes.__file__).parents[1]
TRANSCRIPTS = Path(__file__).parents[1] / "systems/transcripts"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(root, arguments, standalone_mode=False)


def test_every_cause_that_may_be_named_is_explained_with_its_cure() -> None:
    assert set(failures()) == set(SYSTEMS)
    listed = {row["code"] for row in causes_listed()}
    for cause in (*ENDS.values(), *GUESTS, *CAUSES, *(cause for each in failures().values() for cause in each)):
        rows = [row for row in causes_named(cause.name) if row["meaning"] == f"{cause.message}."]
        assert cause.cure in [row["cure"] for row in rows]
        assert cause.name in listed


def test_every_name_that_the_code_gives_by_hand_is_explained() -> None:
    """`cause="..."` anywhere, and names of ends that are sent as signals."""
    named = {
        keyword.value.value
        for room in ("drivers", "lifecycle")
        for file in (PACKAGE / room).glob("*.py")
        for item in ast.walk(ast.parse(file.read_text()))
        if isinstance(item, ast.Call)
        for keyword in item.keywords
        if keyword.arg == "cause" and isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, str)
    }
    for name in some(named):
        assert causes_named(name), name


def test_a_name_tells_what_it_means_for_each_system() -> None:
    rows = json.loads(run("explain", "disk-too-small", "-o", "json").stdout)
    assert {row["of"] for row in rows} == {"debian", "rhel", "xcpng"}
    assert all(row["cure"] and row["meaning"].endswith(".") for row in rows)
    text = run("explain", "[reset-loop]").stdout
    assert "again and again" in text and "xen.noreboot" in text
    assert "hotplug_timeout" in run("explain", "vif-not-connected").stdout
    assert "reset-loop" in run("explain", "--list").stdout


def test_a_name_that_is_none_is_told_with_those_like_it() -> None:
    error = run("explain", "disk-to-small").exception
    assert isinstance(error, UsageError)
    assert "disk-too-small" in (error.hint or "")


@pytest.mark.parametrize(
    ("transcript", "system", "cause", "of"),
    [
        ("debian-mirror", "debian", "mirror-failed", "debian"),
        ("net-retriever-signature", None, "signature-refused", "debian"),
        ("grub-rescue", "debian", "loader-rescue", "debian"),
        ("bios-blank-disk", "netbsd", "nothing-to-boot", "netbsd"),
    ],
)
def test_a_log_tells_its_cause(transcript: str, system: str | None, cause: str, of: str) -> None:
    words = [system] if system else []
    done = run("explain", *words, "--log", str(TRANSCRIPTS / f"{transcript}.log"), "-o", "json")
    rows = json.loads(done.stdout)
    assert [(row["cause"], row["of"]) for row in rows] == [(cause, of)]
    assert rows[0]["cure"]


def test_a_log_of_which_nothing_is_known(tmp_path: Path) -> None:
    error = run("explain", "--log", str(TRANSCRIPTS / "xen-trixie-bios.log")).exception
    assert isinstance(error, LabError) and "is known as the cause" in error.message
    (tmp_path / "empty").write_bytes(b"")
    assert isinstance(run("explain", "--log", str(tmp_path / "empty")).exception, LabError)
    (tmp_path / "noise").write_bytes(bytes(range(256)) * 5000)
    assert isinstance(run("explain", "--log", str(tmp_path / "noise")).exception, LabError)


def test_a_log_of_a_system_that_is_none() -> None:
    error = run("explain", "vms", "--log", str(TRANSCRIPTS / "grub-rescue.log")).exception
    assert isinstance(error, UsageError) and "netbsd" in (error.hint or "")
