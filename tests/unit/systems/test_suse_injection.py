"""Strange texts in every field of SUSE's installer settings: refused, or one text of what lxml and json read."""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from lxml import etree
from pydantic import ValidationError

from builder.errors import LabError
from builder.systems.suse.options import SuseInstall
from builder.systems.suse.system import Suse
from tests.support.nodes import nic
from tests.support.rhel import HASH, text_file
from tests.support.suse import AGAMA, RELEASES, scripts_of, suse_node

SUSE = Suse()
NS = "{http://www.suse.com/1.0/yast2ns}"

HOSTILE = (
    "x</source><script>", "x\n%pre\nid", "a b", 'a"b', "a'b", "a;b", "a#b", "a`id`b", "$(id)", "a\\b", "a\0b", "]]>",
    "<!--", "&lt;", "&x;", "\u202eabc", "é", "a\tb", "", " ", "x" * 5000, "NESTLAB", "--", "{{ x }}", "../x", "a\r\nb",
)  # fmt: skip
FIELDS: tuple[tuple[str, Callable[[str], dict[str, Any]]], ...] = (
    ("language", lambda v: {"language": v}), ("keyboard", lambda v: {"keyboard": v}),
    ("timezone", lambda v: {"timezone": v}), ("ntp", lambda v: {"ntp": [v]}), ("hostname", lambda v: {"hostname": v}),
    ("url", lambda v: {"url": v}), ("served", lambda v: {"delivery": "http", "served_at": v}),
    ("repository", lambda v: {"repositories": [{"name": v, "url": "http://x"}]}),
    ("repository url", lambda v: {"repositories": [{"name": "x", "url": v}]}),
    ("volume group", lambda v: {"volume_group": v}), ("root password", lambda v: {"root_password": v}),
    ("key", lambda v: {"root_keys": [v]}), ("pattern", lambda v: {"patterns": [v]}),
    ("package", lambda v: {"packages": [v]}), ("service", lambda v: {"services_on": [v]}),
    ("user", lambda v: {"users": [{"name": v}]}), ("group", lambda v: {"users": [{"name": "x", "groups": [v]}]}),
    ("user password", lambda v: {"users": [{"name": "x", "password": v}]}),
    ("device", lambda v: {"devices": {"disk0": v}}),
    ("interpreter", lambda v: {"post": [{"file": text_file("true"), "interpreter": v}]}),
    ("script", lambda v: {"post": [{"file": text_file(v)}]}),
    ("file", lambda v: {"files": [{"path": "/etc/motd", "file": text_file(v)}]}),
    ("file path", lambda v: {"files": [{"path": v, "file": text_file("x")}]}),
    ("file mode", lambda v: {"files": [{"path": "/etc/motd", "file": text_file("x"), "mode": v}]}),
    ("bond", lambda v: {"network": {"bonds": [{"name": v, "cards": [0, 1]}]}}),
    ("bond option", lambda v: {"network": {"bonds": [{"name": "bond0", "cards": [0, 1], "options": [v]}]}}),
    ("name server", lambda v: {"network": {"nameservers": [v]}}), ("gateway", lambda v: {"network": {"gateway": v}}),
    ("registration code", lambda v: {"registration": {"code": v}}),
    ("registration server", lambda v: {"registration": {"server": v}}),
    ("registration mail", lambda v: {"registration": {"email": v}}), ("module", lambda v: {"modules": [v]}),
)  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("field", FIELDS, ids=[name for name, _ in FIELDS])
def test_hostile_text_is_refused_or_inert(field: tuple[str, Callable[[str], dict[str, Any]]], value: str) -> None:
    """What the types let through is one text of lxml's or json's reading: no element, script or account more."""
    name, install = field
    try:
        SuseInstall.model_validate(install(value))
    except ValidationError:
        return
    for release in ("sles15", "16.0") if not name.startswith(("registration", "module")) else ("sles15",):
        node = suse_node(release, nics=(nic(1),), install=install(value))
        try:
            made = SUSE.plan(node).answers[0].content
        except LabError:
            continue
        assert _shape(made) == _plain(release, name)
        assert value in _texts(made)


@functools.cache
def _plain(release: str, name: str) -> Any:
    """The shape of the answers with a harmless value in that field."""
    install = dict(FIELDS)[name](_harmless(name))
    return _shape(SUSE.plan(suse_node(release, nics=(nic(1),), install=install)).answers[0].content)


def _harmless(name: str) -> str:
    """A value that the field takes."""
    words = {
        "language": "en_US.UTF-8", "timezone": "Etc/UTC", "url": "http://x", "served": "http://x",
        "user password": HASH, "repository url": "http://x", "root password": HASH, "key": "ssh-rsa " + "A" * 60,
        "device": "/dev/sda", "interpreter": "/bin/sh", "file path": "/etc/x", "file mode": "0644", "bond": "bond0",
        "bond option": "miimon=1", "name server": "192.0.2.1", "gateway": "192.0.2.1", "registration code": "ABCD",
        "registration server": "http://x", "registration mail": "a@example.org",
    }  # fmt: skip
    return words.get(name, "x")


def _shape(text: str) -> Any:
    """Elements, or keys, without their values."""
    if text.startswith("{"):
        return _keys(json.loads(text))
    return [each.tag for each in etree.fromstring(text.encode()).iter()]


def _keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _keys(each) for key, each in value.items()}
    return [_keys(each) for each in value] if isinstance(value, list) else None


def _texts(text: str) -> str:
    if text.startswith("{"):
        return json.dumps(json.loads(text), ensure_ascii=False).encode().decode("unicode_escape", "replace") + text
    return "\n".join(each.text or "" for each in etree.fromstring(text.encode()).iter())


def test_keys_may_have_any_comment() -> None:
    key = "ssh-rsa " + "A" * 60 + ' O\'Neil; $(rm) `id` "x" \\ <b>&]]> NESTLAB'
    for release in RELEASES:
        made = SUSE.plan(suse_node(release, install={"root_keys": [key, key], "users": [{"name": "a", "keys": [key]}]}))
        if release in AGAMA:
            assert json.loads(made.answers[0].content)["root"]["sshPublicKey"] == key
            script = scripts_of(made)["finish.sh"]
            done = subprocess.run(["sh", "-c", "\n".join(line.split(" >>")[0] for line in script.splitlines()
                                                          if line.startswith("echo 'ssh-"))],
                                  check=True, capture_output=True, text=True)  # fmt: skip
            assert done.stdout.splitlines() == [key, key]
        else:
            root = etree.fromstring(made.answers[0].content.encode())
            assert [each.text for each in root.iter(f"{NS}listentry") if (each.text or "").startswith("ssh")] == [
                key
            ] * 3
