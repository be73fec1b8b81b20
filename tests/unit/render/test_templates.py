"""Lookup, overrides, escaping and the errors of templates."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from builder.render.templates import TemplateFailed, Templates


@pytest.fixture
def overrides(tmp_path: Path) -> Path:
    (tmp_path / "debian/image/etc/xen").mkdir(parents=True)
    return tmp_path


def write(overrides: Path, name: str, text: str) -> Templates:
    path = overrides / "debian" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return Templates("debian", overrides)


def test_the_users_template_stands_before_ours_and_ours_for_the_rest(overrides: Path) -> None:
    templates = write(overrides, "image/etc/xen/xl.conf", "mine={{ bridge | xl_string }}\n")
    assert templates.render("image/etc/xen/xl.conf", bridge="br7") == 'mine="br7"\n'
    assert "XENDOMAINS_RESTORE=false" in templates.render("image/etc/default/xendomains")


def test_a_value_that_is_not_given_is_an_error_that_names_the_file(overrides: Path) -> None:
    templates = write(overrides, "x.conf", "{{ bridge }} {{ brigde }}")
    with pytest.raises(TemplateFailed, match=r"debian/x\.conf: 'brigde' is undefined") as caught:
        templates.render("x.conf", bridge="a")
    assert caught.value.hint == "the values this template is given: bridge"


def test_a_broken_template_is_told_with_its_line(overrides: Path) -> None:
    templates = write(overrides, "x.conf", "one\n{% if %}\n")
    with pytest.raises(TemplateFailed, match=r"x\.conf:2: "):
        templates.render("x.conf")


def test_a_missing_template_says_where_it_was_looked_for(overrides: Path) -> None:
    with pytest.raises(TemplateFailed, match=r"no template nothing\.conf") as caught:
        Templates("debian", overrides).render("nothing.conf")
    assert str(overrides / "debian") in str(caught.value.hint)


def test_xml_is_escaped_and_nothing_else_is(overrides: Path) -> None:
    for name, expected in (("a.xml", "&lt;&amp;"), ("a.xml.j2", "&lt;&amp;"), ("a.conf", "<&")):
        assert write(overrides, name, "{{ value }}").render(name, value="<&") == expected


def test_importing_the_room_does_not_load_jinja2() -> None:
    code = "import sys, builder.render.templates, builder.render.quoting; sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("text", ["{{ 1 + 'a' }}", "{{ 1 // 0 }}", "{% include 'x.txt' %}", "{{ a | int(1, 2, 3) }}"])
def test_a_template_that_fails_while_it_runs_is_told(text: str, overrides: Path) -> None:
    with pytest.raises(TemplateFailed, match=r"x\.txt: ") as caught:
        write(overrides, "x.txt", text).render("x.txt", a="1")
    assert caught.value.hint
