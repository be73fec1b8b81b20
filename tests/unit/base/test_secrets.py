"""Secrets show as *** wherever text leaves the program."""

from __future__ import annotations

import pytest

from builder.secrets import Secret, redact


def test_a_secret_does_not_show() -> None:
    secret = Secret("hunter2")
    assert f"{secret} {secret!r} {[secret]}" == "*** *** [***]"
    assert secret.reveal() == "hunter2"
    assert secret == Secret("hunter2")
    assert secret != Secret("other")
    assert len({secret, Secret("hunter2")}) == 1


def test_known_secrets_are_masked_and_an_empty_one_does_nothing() -> None:
    assert redact("a hunter2 b", [Secret("hunter2"), Secret("")]) == "a *** b"


@pytest.mark.parametrize(
    "text",
    [
        "rootpw --iscrypted $6$rounds=5000$salt$KEEPOUT/x.",
        "hash $y$j9T$abc$KEEPOUT",
        "hash $2b$12$KEEPOUT",
        "hash $sha1$23$salt$KEEPOUT",
        "hash $argon2id$v=19$m=4096,t=11,p=1$c2Fs+HQ$KEEPOUT",
        "hash $md5,rounds=904$salt$$KEEPOUT",
        "hash $gy$j9T$abc$KEEPOUT",
        "http://user:KEEPOUT@mirror.example/debian",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nKEEPOUT\n-----END OPENSSH PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nKEEPOUT",
    ],
)
def test_what_is_secret_by_its_form_is_masked(text: str) -> None:
    assert "KEEPOUT" not in redact(text)
    assert "***" in redact(text)


def test_a_password_of_grub_is_masked() -> None:
    """As grub-mkpasswd-pbkdf2 prints it."""
    assert redact("password_pbkdf2 root grub.pbkdf2.sha512.10000.9CA4.611C # mine") == "password_pbkdf2 root *** # mine"


@pytest.mark.parametrize(
    "text", ["http://mirror.example/debian costs $5 or $6 for user@host:22", 'cp "$1$2" "$3$4"; echo $1$$']
)
def test_other_text_stays(text: str) -> None:
    assert redact(text) == text
