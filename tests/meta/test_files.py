"""What must not be in the files: names of the machine they were written on, links that lead nowhere."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.support.repo import ROOT, project_files, sources, text_files

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)|!\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


def machine_words() -> set[str]:
    """What names this machine and nothing else: the folder of this clone, and the package servers set up here."""
    words = {str(ROOT), str(ROOT.parent) + "/"} - {"//", "/"}
    settings = [Path("/etc/pip.conf"), Path.home() / ".config/pip/pip.conf", Path.home() / ".pip/pip.conf"]
    settings += [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    for path in settings:
        if path.is_file():
            for url in re.findall(r"\b(?:https?|ftp)://[^\s\]]+", path.read_text(errors="replace")):
                words.add(urlsplit(url).hostname or url)
    return words


def test_no_file_names_this_machine() -> None:
    words = machine_words()
    found = [f"{path}: {word}" for path, text in text_files() for word in sorted(words) if word in text]
    assert found == []


def test_no_file_reaches_outside_the_repository() -> None:
    outside = re.compile(r"\.\./" + "shared")
    found = [f"{path}: {match[0]}" for path, text in text_files() for match in outside.finditer(text)]
    assert found == []


def test_nothing_is_left_to_be_done() -> None:
    marks = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b(?!\.)")
    here = Path(__file__).resolve().relative_to(ROOT)
    found = [
        f"{path}:{text[: match.start()].count(chr(10)) + 1}"
        for path, text in text_files()
        if path != here and path.suffix in {".py", ".sh", ".md", ".yaml", ".toml", ".j2"}
        for match in marks.finditer(text)
    ]
    assert found == []


def markdown() -> list[Path]:
    return [path for path in project_files() if path.suffix == ".md"]


def anchors(path: Path) -> set[str]:
    """The anchors that headings get on the usual forges."""
    text = FENCE.sub("", path.read_text())
    titles = re.findall(r"^#+ +(.+?) *#*$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(path: Path) -> Iterator[str]:
    for first, second in LINK.findall(FENCE.sub("", path.read_text())):
        yield first or second


@pytest.mark.parametrize("path", markdown(), ids=lambda p: p.name)
def test_links_lead_somewhere(path: Path) -> None:
    broken = []
    for link in links(path):
        url = urlsplit(link)
        if url.scheme:
            continue
        target = path.parent / unquote(url.path) if url.path else path
        if not target.exists() or (url.fragment and target.suffix == ".md" and url.fragment not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_markdown_exists() -> None:
    names = {path.name for path in markdown()}
    assert {"README.md", "CONTRIBUTING.md", "CHANGELOG.md"} <= names


def test_python_files_say_what_they_are_for() -> None:
    silent = [
        s.path for s in sources("builder", "ci") if s.text.strip() and not s.text.lstrip().startswith(('"""', "#!"))
    ]
    assert silent == []


def test_scripts_pass_shellcheck() -> None:
    listed = subprocess.run(
        ["bash", "-c", '. "$0/ci/lib.sh"; shell_scripts', str(ROOT)], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert {"ci/quickstart.sh", "ci/test.sh", ".ci/run"} <= set(listed)
    checked = subprocess.run(["shellcheck", "-x", "--", *listed], cwd=ROOT, check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
