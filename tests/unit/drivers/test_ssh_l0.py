"""The address of another machine, and what is asked of ssh. The connection itself: integration/test_remote.py."""

from __future__ import annotations

import itertools
import shlex
from pathlib import Path

import pytest

from builder.drivers.ssh_l0 import FarUri, Master
from builder.errors import UsageError


def test_all_parts_of_an_address() -> None:
    uri = FarUri.parse("qemu+ssh://me@l0.example:2222/session?keyfile=/k/id&nestlab-dir=/data/nl&no_tty=1")
    assert (uri.host, uri.user, uri.port, uri.kind) == ("l0.example", "me", 2222, "session")
    assert (uri.keyfile, uri.folder, uri.destination) == ("/k/id", "/data/nl", "me@l0.example")


def test_what_is_left_out_is_left_to_ssh() -> None:
    uri = FarUri.parse("qemu+ssh://l0/system")
    assert (uri.user, uri.port, uri.keyfile, uri.folder, uri.destination) == (None, None, None, None, "l0")


@pytest.mark.parametrize(
    "text",
    [
        "qemu+ssh:///system",
        "qemu+ssh://l0",
        "qemu+ssh://l0/system/x",
        "qemu+libssh2://l0/system",
        "qemu+ssh://me:secret@l0/system",
        "qemu+ssh://l0:x/system",
        "qemu+ssh://-oProxyCommand=x/system",
        "qemu+ssh://-oProxyCommand=x@l0/system",
        "qemu+ssh://l0/system?no_verify=1",
        "qemu+ssh://l0/system?nestlab-dir=relative",
        "qemu+ssh://l0/system?nestlab-dir=/a'b",
        "qemu+ssh://l0/system?x",
    ],
)
def test_what_would_be_ignored_or_misunderstood_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        FarUri.parse(text)
    assert "qemu+ssh://[USER@]HOST" in str(caught.value.hint)


def test_a_command_reaches_a_shell_as_it_is() -> None:
    """ssh joins words with blanks, and the user's own shell reads them first, which may be none of POSIX."""
    master = object.__new__(Master)
    master.uri, master._control = FarUri.parse("qemu+ssh://me@l0:2222/system?keyfile=/k/id"), Path("/run/x/m")
    argv = list(master.shell("echo 'a b' \"$HOME\"; exit 3"))
    assert argv[argv.index("--") + 1] == "me@l0"
    assert shlex.split(argv[-1]) == ["exec", "sh", "-c", "echo 'a b' \"$HOME\"; exit 3"]
    assert ("-S", "/run/x/m") in itertools.pairwise(argv)
    assert ("-F", "none") in itertools.pairwise(argv) and "ProxyCommand=false" in argv, (
        "it uses the connection or fails"
    )
