"""Package sources as apt has them: what is taken for Debian's, and what never shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.errors import HostLacks
from builder.images.hosts import KEYRING, read_host


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    (tmp_path / "apt/sources.list.d").mkdir(parents=True)
    (tmp_path / "os-release").write_text('NAME="Debian GNU/Linux"\nID=debian\nVERSION_CODENAME=bookworm\n')
    return tmp_path


DEB822 = """\
Types: deb deb-src
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates bookworm-backports
Components: main non-free-firmware
# a remark
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mDMEY865UxYJKwYBBAHaRw8BAQdAd7Z0srwuhlB6JKFkcf4HU4SSS
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: http://mirror.example/debian
Suites: sid
Components: main

Enabled: no
Types: deb
URIs: http://other.example/debian
Suites: bookworm
Components: main
"""


def test_deb822_sources_serve_any_release(etc: Path) -> None:
    (etc / "apt/sources.list.d/debian.sources").write_text(DEB822)
    host = read_host(etc=etc, tools=False)
    assert [(s.uri, s.pocket, s.signed_by) for s in host.sources] == [
        ("http://mirror.example/debian", "", KEYRING),
        ("http://mirror.example/debian", "-updates", KEYRING),
        ("http://mirror.example/debian-security", "-security", KEYRING),
    ]
    text = host.sources_list("13")
    assert "Suites: trixie\n" in text and "Suites: trixie-security\n" in text and "bookworm" not in text


def test_one_line_sources_with_options_and_strangers(etc: Path) -> None:
    (etc / "apt/sources.list").write_text(
        "deb [arch=amd64 signed-by=/k.gpg] https://user:secret@deb.example/debian trixie main contrib # ours\n"
        "deb-src https://deb.example/debian trixie main\n"
        "deb cdrom:[Debian]/ trixie main\n"
        "deb https://download.example/linux nodistro main\n"
        "#deb https://off.example/debian trixie main\n"
    )
    host = read_host(etc=etc, tools=False)
    assert [(s.uri, s.pocket, s.signed_by) for s in host.sources] == [
        ("https://user:secret@deb.example/debian", "", "/k.gpg")
    ]
    # neither the password nor the mirror shows where things are printed, logged or keyed
    assert "secret" not in repr(host) and "deb.example" not in repr(host)
    assert "deb.example" not in host.sources_digest()


def test_a_given_mirror_wins(etc: Path) -> None:
    (etc / "apt/sources.list.d/debian.sources").write_text(DEB822)
    host = read_host(
        mirror="http://site.example/debian/", security_mirror="http://site.example/sec", etc=etc, tools=False
    )
    assert [(s.uri, s.pocket) for s in host.sources] == [
        ("http://site.example/debian", ""),
        ("http://site.example/debian", "-updates"),
        ("http://site.example/sec", "-security"),
    ]


def test_a_host_that_is_not_debian_needs_a_mirror(etc: Path) -> None:
    (etc / "os-release").write_text("NAME=Ubuntu\nID=ubuntu\nID_LIKE=debian\n")
    (etc / "apt/sources.list").write_text("deb http://archive.example/ubuntu noble main\n")
    with pytest.raises(HostLacks) as caught:
        read_host(etc=etc, tools=False)
    assert caught.value.exit_code == 3
    assert "NESTLAB_DEBIAN_MIRROR" in (caught.value.hint or "")
    assert read_host(mirror="http://site.example/debian", etc=etc, tools=False).sources
