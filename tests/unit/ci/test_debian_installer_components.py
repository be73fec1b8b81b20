"""Which components an installation takes, which of them can be made again, and the mirror that guests are handed to."""

from __future__ import annotations

import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from builder.errors import HostLacks, LabError
from ci.debian_installer.components import MORE, Component, read_stanzas, wanted, without
from ci.debian_installer.mirror import serve
from ci.debian_installer.remade import can_make, modules_family

KERNEL = "6.1-amd64"
INDEX = (
    "\n".join(f"Package: {name}\n" for name in MORE)
    + f"""
Package: base
Priority: standard
Depends: libc (>= 2.4), disk-tools | other-tools,
 needed-modules

Package: disk-tools
Provides: tools (= 1), fs-tools
Depends: tools-data
Description: first line
 and more of it

Package: tools-data

Package: needed-modules-{KERNEL}-di
Kernel-Version: {KERNEL}
Provides: needed-modules

Package: needed-modules-5.0-amd64-di
Kernel-Version: 5.0-amd64
Priority: standard
Provides: needed-modules

Package: optional
Priority: optional
"""
)


def names(components: tuple[Component, ...]) -> set[str]:
    return {component.name for component in components} - set(MORE)


def test_what_an_installation_takes() -> None:
    listed = tuple(read_stanzas(INDEX))
    here = tuple(read_stanzas("Package: libc\nStatus: install ok unpacked\n"))
    modules = f"needed-modules-{KERNEL}-di"
    assert names(wanted(listed, here, KERNEL)) == {"base", "disk-tools", "tools-data", modules}
    there = tuple(read_stanzas("Package: libc\n\nPackage: mine\nProvides: other-tools\n"))
    assert names(wanted(listed, there, KERNEL)) == {"base", modules}


def test_an_index_without_what_is_always_needed_is_told() -> None:
    with pytest.raises(LabError, match=MORE[-1]):
        wanted(tuple(read_stanzas("Package: base\n")), (), KERNEL)


def test_what_depends_on_lost_ones_is_left_out() -> None:
    listed = tuple(read_stanzas(INDEX))
    taken = wanted(listed, tuple(read_stanzas("Package: libc\n")), KERNEL)
    assert names(without(taken, {"tools-data"}, ["libc"])) == {f"needed-modules-{KERNEL}-di"}
    assert names(without(taken, {"tools-data"}, ["libc", "other-tools"])) == {"base", f"needed-modules-{KERNEL}-di"}
    assert without(taken, (), ["libc"]) == taken


@pytest.mark.parametrize(
    ("name", "kernel", "family", "makeable"),
    [
        ("scsi-modules-6.1-amd64-di", KERNEL, "scsi", True),
        ("jfs-modules-6.1-amd64-di", KERNEL, "jfs", False),
        ("kernel-image-6.1-amd64-di", KERNEL, "", False),
        ("e2fsprogs-udeb", "", "", True),
        ("partman-base", "", "", False),
    ],
)
def test_what_can_be_made_again(name: str, kernel: str, family: str, *, makeable: bool) -> None:
    component = Component({"Package": name, "Kernel-Version": kernel} if kernel else {"Package": name})
    assert (modules_family(component), can_make(component)) == (family, makeable)


@pytest.fixture
def upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    """A mirror that this machine is set up for."""
    for name, text in {"dists/new/Release": "index", "pool/a/a.deb": "package"}.items():
        (tmp_path / "mirror" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mirror" / name).write_text(text)
    (tmp_path / "local/dists/ours").mkdir(parents=True)
    (tmp_path / "local/dists/ours/Release").write_text("ours")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "mirror"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
        monkeypatch.setenv("NESTLAB_DEBIAN_MIRROR", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("NESTLAB_CACHE", str(tmp_path / "cache"))
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(port: int, path: str) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/debian/{path}", timeout=10) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return str(error.code)


def test_the_mirror_has_the_local_tree_the_cache_and_the_rest(
    upstream: ThreadingHTTPServer, tmp_path: Path, free_port: int
) -> None:
    paths = ("dists/ours/Release", "dists/new/Release", "pool/a/a.deb", "pool/none.deb", "../../etc/passwd")
    with serve(tmp_path / "local", port=free_port) as served:
        assert [get(free_port, path) for path in paths] == ["ours", "index", "package", "404", "404"]
        for text in ("newer index", "changed package"):
            (tmp_path / "mirror" / ("pool/a/a.deb" if "package" in text else "dists/new/Release")).write_text(text)
        assert [get(free_port, path) for path in paths[1:3]] == ["newer index", "package"]
        upstream.shutdown()
        upstream.server_close()
        assert [get(free_port, path) for path in paths[:4]] == ["ours", "newer index", "package", "404"]
    assert [(each.source, each.status) for each in served.requests[:4]] == [
        ("local", 200), ("upstream", 200), ("upstream", 200), ("nowhere", 404),
    ]  # fmt: skip
    assert served.failed == ["/debian/../../etc/passwd", "/debian/pool/none.deb"]
    assert served.figures()["files_cache"] == 3


def test_a_mirror_that_is_no_web_server_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NESTLAB_DEBIAN_MIRROR", "file:///srv/debian")
    with pytest.raises(HostLacks, match="no web server"), serve(tmp_path, port=0):
        pass
