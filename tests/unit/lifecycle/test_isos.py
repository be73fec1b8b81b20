"""Where media are found, and how they are downloaded: by a server of this test that can break off, and be wrong."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from builder.errors import HostLacks, Interrupted, UsageError
from builder.lifecycle import isos
from builder.lifecycle.doctor_needs import needs_of
from builder.media.edits import Put
from builder.media.inspect import installer_of
from builder.media.plan import plan_edits
from builder.media.sinks import write_qcow2
from builder.model.lab import Lab, MediumSource, Node
from builder.paths import Places
from tests.support.xcpng import xcpng_node
from tests.unit.media import made

CONTENT = bytes(range(256)) * 9000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
VARIABLE = "NESTLAB_ISO_XCPNG_8_3"


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "state", tmp_path / "cache", tmp_path / "run")


@pytest.fixture
def iso(tmp_path: Path) -> Path:
    path = tmp_path / "x.iso"
    path.write_bytes(CONTENT)
    return path


def node(**source: str) -> Node:
    return xcpng_node().model_copy(update={"source": MediumSource.model_validate(source)})


def test_a_file_that_is_there_is_taken_whatever_the_variable_says(iso: Path, places: Places, tmp_path: Path) -> None:
    other = tmp_path / "other.iso"
    other.touch()
    assert isos.locate(node(path=str(iso)), places, {VARIABLE: str(other)}).path == str(iso)


@pytest.mark.parametrize("source", [{}, {"path": "/nowhere/x.iso"}, {"url": "http://127.0.0.1:1/x", "sha256": DIGEST}])
def test_the_variable_stands_in_for_what_is_not_there(source: dict[str, str], iso: Path, places: Places) -> None:
    found = isos.locate(node(**source), places, {VARIABLE: str(iso)})
    assert (found.path, found.url) == (str(iso), None)


@pytest.mark.parametrize("source", [{}, {"path": "/nowhere/x.iso"}])
def test_without_a_medium_all_three_ways_are_told(source: dict[str, str], places: Places) -> None:
    with pytest.raises(UsageError) as caught:
        isos.locate(node(**source), places, {})
    assert caught.value.exit_code == 2
    for way in ("{medium: FILE.iso}", "https://", "sha256", f"{VARIABLE}=/"):
        assert way in str(caught.value.hint)


def test_a_variable_that_names_nothing_is_told(places: Places) -> None:
    with pytest.raises(UsageError, match=f"{VARIABLE} names /nowhere"):
        isos.locate(node(), places, {VARIABLE: "/nowhere"})


def test_a_downloaded_medium_is_found_in_the_cache(places: Places) -> None:
    source = {"url": "http://127.0.0.1:1/x.iso", "sha256": DIGEST}
    first = isos.locate(node(**source), places, {})
    assert first.url is not None
    Path(first.path).parent.mkdir(parents=True)
    Path(first.path).write_bytes(CONTENT)
    assert isos.locate(node(**source), places, {}) == MediumSource(path=first.path, sha256=DIGEST)


def test_a_medium_is_read_once_until_it_changes(iso: Path, places: Places) -> None:
    told: list[int] = []

    def look() -> str:
        return isos.digest_of(iso, places, progress=lambda done, _all: told.append(done))

    assert look() == DIGEST and told
    told.clear()
    assert look() == DIGEST and not told
    iso.write_bytes(CONTENT + b"x")
    assert look() == hashlib.sha256(CONTENT + b"x").hexdigest() and told
    (places.cache / "media/digests.json").write_text("{damaged")
    assert look() == hashlib.sha256(CONTENT + b"x").hexdigest()


def test_a_medium_that_was_changed_in_place_is_read_again_whatever_its_time_says(iso: Path, places: Places) -> None:
    assert isos.digest_of(iso, places) == DIGEST
    before = iso.stat()
    with iso.open("r+b") as file:
        file.write(b"another")
    os.utime(iso, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = iso.stat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)
    assert isos.digest_of(iso, places) == hashlib.sha256(b"another" + CONTENT[7:]).hexdigest()


def test_what_an_earlier_version_remembered_is_read_once_more(iso: Path, places: Places) -> None:
    book, info = places.cache / "media/digests.json", iso.stat()
    book.parent.mkdir(parents=True)
    entry = [info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, "0" * 64]
    book.write_text(json.dumps({"v": 1, "media": {str(iso): entry}}))
    assert isos.digest_of(iso, places) == DIGEST


def test_a_medium_that_is_installed_from_is_not_read_again(places: Places, tmp_path: Path) -> None:
    """A keeper looks whose it is, plans edits and writes an overlay on it. (QEMU then only reads; seen: a medium whose
    last change was hours before the installations from it.)"""
    path = made.iso(tmp_path / "x.iso")
    told: list[int] = []
    digest = isos.digest_of(path, places)
    installer_of(path)
    write_qcow2(plan_edits(path, (Put("/ks.cfg", b"text\n"),)), tmp_path / "medium.qcow2")
    assert isos.digest_of(path, places, progress=lambda done, _all: told.append(done)) == digest and not told


XCP = "[platform]\nname = XCP\nversion = 3\n[branding]\nname = {0}\nversion = {1}\n"


def xcp_medium(folder: Path, version: str, name: str = "XCP-ng") -> Path:
    return made.iso(folder / f"{version}.iso", {"/.treeinfo": XCP.format(name, version).encode()})


@pytest.mark.parametrize(
    ("release", "name", "version"),
    [("8.3", "XCP-ng", "8.3.0"), ("8.2", "XCP-ng", "8.2.1"), ("xs8", "XenServer", "8.4.0"), ("xs8", "XenServer", "8")],
)
def test_a_medium_of_the_release_is_fit(release: str, name: str, version: str, tmp_path: Path) -> None:
    assert isos.fits(xcpng_node(release), xcp_medium(tmp_path, version, name)) == ()


@pytest.mark.parametrize(
    ("release", "name", "version", "other"),
    [
        ("8.3", "XCP-ng", "8.2.1", "8.2"),
        ("8.2", "XCP-ng", "8.3.0", "8.3"),
        ("8.3", "XenServer", "8.4.0", "xs8"),
        ("8.2", "XenServer", "8", "xs8"),
    ],
)
def test_another_release_of_xcp_ng_is_refused(
    release: str, name: str, version: str, other: str, places: Places, tmp_path: Path
) -> None:
    """By the variable, too: it names the medium of one release."""
    path, variable = xcp_medium(tmp_path, version, name), f"NESTLAB_ISO_XCPNG_{release.upper().replace('.', '_')}"
    wanted = xcpng_node(release).model_copy(update={"source": MediumSource(path="/nowhere/x.iso")})
    with pytest.raises(UsageError) as caught:
        isos.find_medium(wanted, places, {variable: str(path)})
    assert caught.value.message == f"{path} installs {name} {version}, and host-a is release {release}"
    assert f'release: "{other}"' in str(caught.value.hint) and f"{variable}=/" in str(caught.value.hint)


def test_a_release_that_nobody_knows_is_remarked_on(tmp_path: Path) -> None:
    path = xcp_medium(tmp_path, "9.0.0")
    assert isos.fits(xcpng_node(), path) == (f"{path} installs XCP-ng 9.0.0, and host-a is release 8.3",)


def test_another_release_of_a_system_that_says_what_it_does_not_take_is_remarked_on(tmp_path: Path) -> None:
    path = made.iso(tmp_path / "x.iso", {"/.disk/info": b'Debian GNU/Linux 12.5.0 "Bookworm" - Official'})
    (remark,) = isos.fits(xcpng_node().model_copy(update={"system": "debian", "release": "13"}), path)
    assert remark == f"{path} installs Debian GNU/Linux 12.5.0, and host-a is release 13"


def test_a_medium_that_says_nothing_of_itself_is_remarked_on(places: Places, tmp_path: Path) -> None:
    path = made.iso(tmp_path / "x.iso", {"/readme.txt": b"x"})
    lab = Lab(name="t", description="", expires=0, networks=(), nodes=(node(path=str(path)),))
    _, (remark,) = isos.find_media(lab, places, {})
    assert str(path) in remark and "host-a is xcpng" in remark
    # No medium of a system that is not in the table of families ever says so.
    assert isos.fits(node().model_copy(update={"system": "tiny-installer"}), path) == ()


def test_a_network_installation_medium_tells_no_release_and_is_fit(tmp_path: Path) -> None:
    path = made.iso(tmp_path / "x.iso", {"/install.img": b"BZh9", "/boot/xen.gz": b"\x1f\x8b"})
    assert isos.fits(xcpng_node(), path) == ()


def test_another_medium_than_the_lab_file_means_is_refused(iso: Path, places: Places) -> None:
    lab = Lab(name="t", description="", expires=0, networks=(), nodes=(node(path=str(iso), sha256="0" * 64),))
    with pytest.raises(UsageError, match=DIGEST):
        isos.find_media(lab, places, {})


class Server(ThreadingHTTPServer):
    """`breaks_at`: the first answer ends there, though more was promised."""

    content = CONTENT
    ranges = True
    breaks_at: int | None = None
    tells_length = True
    seen: list[str | None]


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.seen.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.ranges else 0
        if asked and start >= len(self.server.content):
            self.send_error(416)
            return
        part = self.server.content[start:]
        self.send_response(206 if asked and self.server.ranges else 200)
        if self.server.tells_length:
            self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part[: self.server.breaks_at])
        self.server.breaks_at = None

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), _Handler) as made:
        made.seen = []
        thread = threading.Thread(target=made.serve_forever, args=(0.05,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def fetch(
    server: Server, places: Places, *, stop: threading.Event | None = None,
    progress: isos.Progress = lambda _done, _all: None,
) -> Path:  # fmt: skip
    wanted = node(url=f"http://127.0.0.1:{server.server_port}/x.iso", sha256=DIGEST)
    source = isos.locate(wanted, places, {})
    isos.download(wanted, source, progress=progress, stop=stop or threading.Event())
    return Path(source.path)


def test_a_download_is_whole_and_happens_once(server: Server, places: Places) -> None:
    path = fetch(server, places)
    assert path.read_bytes() == CONTENT
    assert path.name == f"{DIGEST}.iso"
    assert not path.with_suffix(".part").exists()
    isos.download(node(), MediumSource(path=str(path), url="http://127.0.0.1:1/", sha256=DIGEST),
                  progress=lambda _done, _all: None, stop=threading.Event())  # fmt: skip
    assert server.seen == [None]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_broke_off_is_gone_on_with(ranges: bool, server: Server, places: Places) -> None:
    server.breaks_at, server.ranges = 1_100_000, ranges
    with pytest.raises(HostLacks, match="cannot be downloaded") as caught:
        fetch(server, places)
    assert caught.value.exit_code == 3
    assert fetch(server, places).read_bytes() == CONTENT
    assert server.seen[1] is not None and server.seen[1].startswith("bytes=1")


def test_progress_begins_with_what_was_there_already(server: Server, places: Places) -> None:
    part = places.cache / "media" / f"{DIGEST}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:2_000_000])
    told: list[tuple[int, int]] = []
    fetch(server, places, progress=lambda done, total: told.append((done, total)))
    assert (told[0], told[-1]) == ((2_000_000, len(CONTENT)), (len(CONTENT), len(CONTENT)))


def test_a_server_that_tells_no_length_gives_no_total(server: Server, places: Places) -> None:
    server.tells_length = False
    told: list[tuple[int, int]] = []
    path = fetch(server, places, progress=lambda done, total: told.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert told[-1][0] == len(CONTENT) and {total for _, total in told} == {0}


def test_a_download_that_only_lacked_its_name_is_taken(server: Server, places: Places) -> None:
    part = places.cache / "media" / f"{DIGEST}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT)
    assert fetch(server, places).read_bytes() == CONTENT


def test_another_file_than_was_meant_is_not_kept(server: Server, places: Places) -> None:
    server.content = CONTENT[:-1] + b"?"
    with pytest.raises(UsageError, match="sha256"):
        fetch(server, places)
    assert [path.suffix for path in (places.cache / "media").iterdir()] == [".lock"]


def test_a_download_ends_when_it_is_no_longer_wanted(server: Server, places: Places) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        fetch(server, places, stop=stop)


def test_doctor_knows_which_media_are_there(iso: Path, places: Places) -> None:
    nodes = (
        node(path=str(iso)),
        node(path="/nowhere/x.iso").model_copy(update={"name": "lost"}),
        node(url="http://127.0.0.1:1/x.iso", sha256=DIGEST).model_copy(update={"name": "far"}),
    )
    lab = Lab(name="t", description="", expires=0, networks=(), nodes=nodes)
    media = {each.node: each for each in needs_of(lab, places, {}, connect=None, mirror=None).media}
    assert (media["host-a"].seen, media["host-a"].fix) == (str(iso), "")
    assert media["lost"].fix == f"export {VARIABLE}=/path/to/FILE.iso"
    assert "to be downloaded" in media["far"].seen and not media["far"].fix
