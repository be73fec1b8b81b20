"""What a system refuses is wrong with the lab file: every verb that plans a lab ends as `validate` does."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.cli.boundary import guarded

Capture = pytest.CaptureFixture[str]

REFUSED = """\
name: refused
nodes:
  host:
    system: debian
    source: {medium: debian.iso}
    disks: [{size: 50GiB}, {size: 50GiB}]
"""
VERBS: tuple[tuple[str, ...], ...] = (
    ("validate", "{lab}"),
    ("plan", "{lab}"),
    ("plan", "{lab}", "--explain"),
    ("render", "{lab}"),
    ("render", "{lab}", "--stdout", "host:answers/preseed.cfg"),
    ("render", "{lab}", "--out", "{folder}/out"),
    ("export", "{lab}", "--to", "xl"),
    ("export", "{lab}", "--to", "hyperv", "--out", "{folder}/out"),
    ("image", "build", "{lab}"),
    ("media", "build", "{lab}", "host", "--iso", "{folder}/debian.iso", "-o", "{folder}/out"),
    ("doctor", "{lab}", "--no-probe"),
    ("up", "{lab}"),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for kind in ("CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind.lower()))
    (tmp_path / "refused.yaml").write_text(REFUSED)
    (tmp_path / "debian.iso").write_bytes(b"no medium at all")
    return tmp_path


@pytest.mark.parametrize("verb", VERBS, ids=[" ".join(verb[:4]).replace("{lab}", "LAB") for verb in VERBS])
def test_what_a_system_refuses_ends_with_2(verb: tuple[str, ...], folder: Path, capsys: Capture) -> None:
    words = [word.format(lab=folder / "refused.yaml", folder=folder) for word in verb]
    assert guarded(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and "Traceback" not in err
    assert "which of the disks is sda depends on which one answers first [NLD073]" in err
    assert "hint: install.disk_names: by-id" in err
    assert not (folder / "out").exists() and not (folder / "state").exists()


@pytest.mark.parametrize("verb", ["validate", "plan", "render", "up"])
def test_a_template_that_fails_is_the_users_too(verb: str, folder: Path, capsys: Capture) -> None:
    lab = folder / "refused.yaml"
    lab.write_text(REFUSED.replace(", {size: 50GiB}", ""))
    own = folder / "templates" / "debian" / "install" / "preseed.cfg"
    own.parent.mkdir(parents=True)
    own.write_text("d-i time/zone string {{ nothing.of.the.kind }}\n")
    assert guarded([verb, str(lab), "--templates", str(folder / "templates")]) == 2
    assert "nothing" in capsys.readouterr().err


@pytest.mark.parametrize("verb", [("render",), ("export", "--to", "xl")], ids=["render", "export"])
def test_a_place_that_cannot_be_written_is_told(verb: tuple[str, ...], folder: Path, capsys: Capture) -> None:
    lab = folder / "refused.yaml"
    lab.write_text(REFUSED.replace(", {size: 50GiB}", ""))
    out = folder / "debian.iso" / "out"
    assert guarded([verb[0], str(lab), *verb[1:], "--out", str(out)]) == 1
    err = capsys.readouterr().err
    assert f"error: {out.parent} cannot be written: File exists" in err and "Traceback" not in err
    assert out.parent.read_bytes() == b"no medium at all"
