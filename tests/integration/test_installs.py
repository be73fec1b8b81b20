"""What is kept of installations, whatever is killed at whatever moment: steps done by hand, no machine is started."""

from __future__ import annotations

import functools
import hashlib
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from builder.errors import HostLacks, UsageError
from builder.images.overlays import backing_of
from builder.images.store import ImageStore
from builder.lifecycle.request import UpOptions
from builder.media.extract import extract
from builder.paths import Places
from tests.support.install_keeper import BEFORE, Keeper, images, installed
from tests.support.tiny_installer.medium import tiny_medium

pytestmark = pytest.mark.integration


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "state", tmp_path / "cache", tmp_path / "run")


def test_an_installed_disk_becomes_an_image_and_the_node_an_overlay_on_it(places: Places) -> None:
    keeper = installed(places)
    (image,) = images(places)
    assert backing_of(keeper.disk) == image
    assert image.parent.stat().st_mode & 0o777 == 0o700
    assert (image.parent / "id_ed25519").stat().st_mode & 0o777 == 0o600
    clone = Keeper(places, "two")
    clone.do(*BEFORE)
    assert backing_of(clone.disk) == image
    assert clone.key.read_text() == keeper.key.read_text()
    assert all(clone.effects.work(clone.step(name)).is_given(clone.step(name)) for name in ("boot:install", "keep"))
    assert not (clone.folder.node("a") / "medium").exists()
    assert clone.is_done("boot:install")


def test_what_the_firmware_wrote_down_belongs_to_the_image(places: Places) -> None:
    keeper = Keeper(places, "one", firmware="uefi")
    keeper.do(*BEFORE)
    keeper.disk.with_name("uefi-vars.fd").write_bytes(b"an entry")
    keeper.write()
    keeper.do("keep")
    clone = Keeper(places, "two", firmware="uefi")
    clone.do(*BEFORE)
    assert clone.disk.with_name("uefi-vars.fd").read_bytes() == b"an entry"
    assert not clone.disk.with_name("uefi-vars.fd").samefile(images(places)[0].with_name("uefi-vars.fd"))


def test_a_medium_from_an_address_is_downloaded_once(places: Places) -> None:
    medium = tiny_medium()
    digest = hashlib.sha256(medium.read_bytes()).hexdigest()
    handler = functools.partial(SimpleHTTPRequestHandler, directory=medium.parent)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        source = f"'http://127.0.0.1:{server.server_port}/{medium.name}', sha256: {digest}"
        keeper = Keeper(places, "one", source=source)
        keeper.do(*BEFORE)
        server.shutdown()
    kept = places.cache / f"media/{digest}.iso"
    assert backing_of(keeper.folder.node("a") / "medium/medium.qcow2") == kept
    again = Keeper(places, "two", source=source)  # nobody serves it any more
    again.do("medium")
    assert again.step("medium").key == keeper.step("medium").key == Keeper(places, "three").step("medium").key


def test_other_answers_are_another_installation(places: Places) -> None:
    installed(places)
    other = Keeper(places, "two", end="reboot")
    other.do(*BEFORE)
    assert backing_of(other.disk) is None
    assert not other.is_done("boot:install")


def test_an_image_in_use_is_not_pruned(places: Places) -> None:
    keeper = installed(places)
    assert ImageStore(places.cache).prune(0) == ()
    keeper.effects.close()
    assert len(ImageStore(places.cache).prune(0)) == 1


def test_killed_after_the_image_was_made_and_before_the_node_knew(places: Places) -> None:
    """The disk is then the image's own file: it must never be started from."""
    keeper = installed(places)
    (image,) = images(places)
    keeper.disk.unlink()
    keeper.disk.hardlink_to(image)
    (keeper.folder.node("a") / "origin").write_text("own\n")
    keeper.folder.record(keeper.step("keep"), None)
    again = keeper.killed()
    again.do(*BEFORE)
    assert again.is_done("boot:install"), "a finished installation is not repeated"
    again.do("keep")
    assert backing_of(again.disk) == image
    assert not again.disk.samefile(image)


def test_killed_before_the_image_was_made(places: Places) -> None:
    keeper = Keeper(places, "one")
    keeper.do(*BEFORE)
    keeper.write()
    key = keeper.key.read_text()
    again = keeper.killed()
    again.do(*BEFORE)
    assert again.is_done("boot:install") and again.key.read_text() == key
    again.do("keep")
    assert len(images(places)) == 1


def test_an_image_of_another_lab_with_other_keys_does_not_take_the_place_of_ones_own_disks(places: Places) -> None:
    slow = Keeper(places, "slow")
    slow.do(*BEFORE)
    installed(places, "quick")
    slow.write()
    slow.do("keep")
    assert backing_of(slow.disk) is None
    again = slow.killed()
    again.do(*BEFORE)
    assert again.is_done("boot:install") and backing_of(again.disk) is None
    assert again.key.read_text() == slow.key.read_text()


def test_a_clone_whose_image_is_gone_is_installed(places: Places) -> None:
    """The lab's keeper was killed, and somebody made room meanwhile."""
    installed(places).effects.close()
    clone = Keeper(places, "two")
    clone.do(*BEFORE)
    clone.effects.close()
    assert ImageStore(places.cache).prune(0)
    again = Keeper(places, "two")
    again.do("medium")
    assert not again.is_done("identity") and not again.is_done("disks")


def test_an_installation_that_was_cut_off_gets_blank_disks_and_a_listener(places: Places) -> None:
    keeper = Keeper(places, "one")
    keeper.do(*BEFORE)
    keeper.write()
    keeper.progress.write_text("begun\n")
    again = keeper.killed()
    again.do("medium", "identity")
    assert not again.is_done("remaster"), "the listener of the killed keeper is gone"
    again.do("remaster", "disks")
    assert not again.is_done("boot:install")
    before = again.disk.stat().st_size
    again.effects._installs.begin(again.plan.node("a"))
    assert again.disk.stat().st_size < before
    assert again.progress.read_text() == "begun\n"


def test_reinstall_forgets_the_image_once(places: Places) -> None:
    installed(places).effects.close()
    anew = Keeper(places, "two", reinstall=True)
    assert not anew.is_done("medium")
    anew.do(*BEFORE)
    assert images(places) == [] and backing_of(anew.disk) is None
    anew.write()
    anew.do("keep")
    again = anew.killed()
    again.do(*BEFORE)
    assert len(images(places)) == 1 and again.is_done("boot:install")


def test_reinstall_forgets_nothing_before_there_is_a_medium(places: Places) -> None:
    """What is to be downloaded is not there any more: the image is all that is left of it."""
    keeper = installed(places)
    digest = hashlib.sha256(tiny_medium().read_bytes()).hexdigest()
    keeper.effects.close()
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        port = server.server_port
    anew = Keeper(places, "two", reinstall=True, source=f"'http://127.0.0.1:{port}/gone.iso', sha256: {digest}")
    assert anew.step("medium").key == keeper.step("medium").key
    with pytest.raises(HostLacks):
        anew.do("medium")
    assert len(images(places)) == 1


def test_reinstall_does_not_take_an_image_from_others(places: Places) -> None:
    installed(places)
    anew = Keeper(places, "two", reinstall=True)
    with pytest.raises(UsageError, match="in use"):
        anew.do("medium")


def test_a_medium_that_was_exchanged_meanwhile_is_not_installed_from(places: Places) -> None:
    keeper = Keeper(places, "one")
    lab = keeper.plan.lab
    source = lab.nodes[0].source.model_copy(update={"sha256": "0" * 64})
    node = keeper.plan.nodes[0].model_copy(update={"node": lab.nodes[0].model_copy(update={"source": source})})
    keeper.effects.use(keeper.plan.model_copy(update={"nodes": (node,)}), UpOptions())
    with pytest.raises(UsageError, match="changed just now"):
        keeper.do("medium")


def test_keys_come_on_the_volume_and_nowhere_else(places: Places) -> None:
    keeper = Keeper(places, "one", root_keys=f"['ssh-ed25519 {'A' * 68} me']")
    keeper.do(*BEFORE)
    folder = keeper.folder.node("a") / "medium"
    volume = folder / "volume.iso"
    assert volume.stat().st_mode & 0o777 == 0o600
    authorized = _content(volume, "/seed/root/.ssh/authorized_keys").decode().splitlines()
    assert [line.split()[2] for line in authorized] == ["me", "nestlab"]
    private = (keeper.folder.node("a") / "ssh/host_ed25519").read_bytes()
    assert _content(volume, "/seed/etc/ssh/ssh_host_ed25519_key") == private
    assert private.splitlines()[2] not in (folder / "medium.qcow2").read_bytes()
    assert "PRIVATE" not in keeper.plan.model_dump_json()


def _content(volume: Path, path: str) -> bytes:
    target = volume.with_name("content")
    extract(volume, {path: target})
    return target.read_bytes()
