"""Templates of the user's, through every verb that renders."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from builder.cli.frame import root
from builder.errors import UsageError
from builder.paths import data_dir

LAB = """\
name: demo
nodes:
  host: {system: rhel, release: el10, disks: [{size: 20GiB}], source: {medium: x.iso}}
"""
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a verb in a folder of its own, with demo.yaml in it, and in `mine` our template with a mark of the user."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo.yaml").write_text(LAB)
    (tmp_path / "mine/rhel").mkdir(parents=True)
    shipped = (data_dir("kickstarts") / "rhel/ks.cfg").read_text()
    (tmp_path / "mine/rhel/ks.cfg").write_text(shipped.replace("skipx", "skipx\n# mine: {{ end }}"))
    places = {f"NESTLAB_{name}": str(tmp_path / name.lower()) for name in ("STATE", "CACHE", "RUNTIME")}
    runner = CliRunner(env={**places, "NESTLAB_DEBIAN_MIRROR": "http://mirror.example/debian"})

    def invoke(*arguments: str, **environment: str) -> Result:
        return runner.invoke(root, arguments, standalone_mode=False, env=environment)

    return invoke


KICKSTART = ("render", "demo.yaml", "--stdout", "host:answers/ks.cfg")


def test_render_takes_a_template_from_the_users_folder(run: Run) -> None:
    ours = run(*KICKSTART).stdout
    mine = run(*KICKSTART, "--templates", "mine").stdout
    assert mine == ours.replace("skipx\n", "skipx\n# mine: poweroff\n")
    assert run(*KICKSTART, NESTLAB_TEMPLATES="mine").stdout == mine


def test_what_the_users_folder_does_not_have_is_ours(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine/rhel/ks.cfg").unlink()
    assert run(*KICKSTART, "--templates", "mine").stdout == run(*KICKSTART).stdout


def test_a_template_changes_what_the_plan_would_do(run: Run) -> None:
    def key_of_the_medium(*more: str) -> list[str]:
        steps = json.loads(run("plan", "demo.yaml", "-o", "json", *more).stdout)["steps"]
        return [step["key"] for step in steps]

    assert key_of_the_medium() == key_of_the_medium()
    assert key_of_the_medium("--templates", "mine") != key_of_the_medium()


def test_validate_judges_what_the_users_template_makes(run: Run, tmp_path: Path) -> None:
    assert run("validate", "demo.yaml", "--templates", "mine").return_value == 0
    template = tmp_path / "mine/rhel/ks.cfg"
    template.write_text(template.read_text().replace("{{ bootloader }}", "bootloader --location=partition"))
    done = run("validate", "demo.yaml", "--templates", "mine")
    assert done.return_value == 2 and "NLK020" in done.stderr
    assert run("validate", "demo.yaml").return_value == 0


def test_a_volume_for_the_installer_has_the_users_answers(run: Run, tmp_path: Path) -> None:
    assert run("media", "volume", "demo.yaml", "host", "-o", "ours.iso").exception is None
    assert run("media", "volume", "demo.yaml", "host", "-o", "mine.iso", "--templates", "mine").exception is None
    assert b"# mine: poweroff" in (tmp_path / "mine.iso").read_bytes()
    assert b"# mine" not in (tmp_path / "ours.iso").read_bytes()


def test_a_folder_in_which_nothing_would_be_read_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "wrong/ks.cfg").parent.mkdir()
    for verb in (("render",), ("plan",), ("up",), ("image", "build")):
        done = run(*verb, "demo.yaml", "--templates", "wrong")
        assert isinstance(done.exception, UsageError), verb
        assert "templates for no system" in done.exception.message
        assert "rhel/ks.cfg" in (done.exception.hint or "")


def test_a_folder_of_names_that_we_do_not_have_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine/rhel/ks.cfg").rename(tmp_path / "mine/rhel/kickstart.cfg")
    done = run(*KICKSTART, "--templates", "mine")
    assert isinstance(done.exception, UsageError)
    assert done.exception.message.startswith("mine/rhel/kickstart.cfg stands in for no template")
    assert "ks.cfg" in (done.exception.hint or "")
    (tmp_path / "mine/rhel/ks.cfg").write_text("{% include 'kickstart.cfg' %}")
    assert "# mine: poweroff" in run(*KICKSTART, "--templates", "mine").stdout


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_a_template_that_is_no_file_is_told(kind: str, run: Run, tmp_path: Path) -> None:
    template = tmp_path / "mine/rhel/ks.cfg"
    template.unlink()
    if kind == "folder":
        template.mkdir()
    else:
        template.symlink_to(tmp_path / "gone")
    done = run(*KICKSTART, "--templates", "mine")
    assert isinstance(done.exception, UsageError) and "mine/rhel/ks.cfg is no file" in done.exception.message


@pytest.mark.parametrize("name", ["domain.cfg", "make/keys"])
def test_templates_of_guests_are_enough(name: str, run: Run, tmp_path: Path) -> None:
    template = tmp_path / "guests-only/guests" / name
    template.parent.mkdir(parents=True)
    template.write_text("mine\n")
    assert run(*KICKSTART, "--templates", "guests-only").stdout == run(*KICKSTART).stdout


@pytest.mark.parametrize("content", [b"\xff\xfe", b"text\n\x80"])
def test_a_template_that_is_no_text_is_told(content: bytes, run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine/rhel/ks.cfg").write_bytes(content)
    done = run(*KICKSTART, "--templates", "mine")
    assert isinstance(done.exception, UsageError) and "mine/rhel/ks.cfg is no UTF-8 text" in done.exception.message
