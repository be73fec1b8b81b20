"""The machine of a `--connect qemu+ssh://` URI: its connection, outpost and libvirt, and what of ours is there."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from builder.drivers.outpost_link import Outpost
from builder.drivers.ssh_l0 import FarUri, Master
from builder.drivers.virt import Domain, Libvirt
from builder.errors import LabError
from builder.lifecycle.state import read_json, write_json
from builder.paths import Places, is_locked, locked, private_dir, write_atomic

_RECORD = "l0.json"


class Far:
    """Open from its making to `close`; `run_dir` takes the sockets of the connection: it is short and private. `passed`
    is told each part of it that is there: `ssh`, `outpost`, `libvirt`.

    Raises HostLacks with what is wrong there or on the way.
    """

    def __init__(self, uri: FarUri, run_dir: Path, passed: Callable[[str], object] = lambda _: None) -> None:
        self.uri = uri
        self._at = run_dir / "v"
        with contextlib.ExitStack() as stack:
            self.master = Master(uri, run_dir / "m")
            stack.callback(self.master.close)
            passed("ssh")
            self.outpost = Outpost(uri.destination, self.master.shell, root=uri.folder)
            stack.callback(self.outpost.close)
            passed("outpost")
            self._at.unlink(missing_ok=True)
            self.master.forward(self._at, self.outpost.ask("libvirt", kind=uri.kind))
            self.libvirt = Libvirt.open(f"qemu+unix:///{uri.kind}?socket={quote(str(self._at))}")
            passed("libvirt")
            stack.pop_all()

    def close(self) -> None:
        """Guests go on running."""
        self.libvirt.close()
        self.outpost.close()
        self.master.close()
        self._at.unlink(missing_ok=True)

    def domains(self, lab: str) -> list[Domain]:
        """The running guests of a lab, named as it is named there."""
        return [domain for domain in self.libvirt.ours() if domain.name.startswith(domain_name(lab, ""))]

    def end_domains(self, lab: str) -> None:
        for domain in self.domains(lab):
            domain.destroy()

    def take_away(self, lab: str) -> None:
        """Leave nothing of a lab that this connection has opened."""
        self.end_domains(lab)
        self.outpost.ask("remove")

    def reap(self, places: Places) -> tuple[str, ...]:
        """Take away labs that no keeper has: expired ones, and those of this client that are gone here too. Returns
        their names there."""
        gone = []
        for row in self.outpost.ask("labs"):
            if not row["held"] and _is_dead(row["owner"], places):
                self.outpost.ask("open", lab=row["lab"], owner=row["owner"])
                self.take_away(row["lab"])
                gone.append(str(row["lab"]))
        return tuple(gone)


@contextlib.contextmanager
def visiting(uri: FarUri, places: Places, passed: Callable[[str], object] = lambda _: None) -> Iterator[Far]:
    """The machine, for something that is about no lab of ours that is up."""
    folder = Path(tempfile.mkdtemp(prefix="v", dir=private_dir(places.runtime)))
    try:
        with contextlib.closing(Far(uri, folder, passed)) as far:
            yield far
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            places.runtime.rmdir()


def domain_name(lab: str, node: str) -> str:
    return f"nestlab-{lab}-{node}"


def id_there(places: Places, lab_id: str) -> str:
    """The lab's name on a machine that others use too."""
    digest = hashlib.sha256(f"{client_of(places)}\0{lab_id}".encode()).hexdigest()[:8]
    return f"{lab_id}-{digest}"


def client_of(places: Places) -> str:
    """What this state folder is called on other machines: hosts may have one name, and labs of one name."""
    path = places.state / "client"
    with contextlib.suppress(FileNotFoundError):
        return path.read_text().strip()
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_suffix(".lock")):
        if not path.exists():
            write_atomic(path, f"{uuid.uuid4().hex}\n", mode=0o600)
    return path.read_text().strip()


def write_record(places: Places, lab_id: str, uri: FarUri) -> None:
    """Say in the lab's folder where it is, before anything of it is there."""
    write_json(places.lab(lab_id) / _RECORD, {"uri": uri.text})


def read_record(places: Places, lab_id: str) -> FarUri | None:
    """The machine that something of the lab may be on. Raises LabError for a record that is damaged."""
    try:
        return FarUri.parse(str(read_json(places.lab(lab_id) / _RECORD)["uri"]))
    except FileNotFoundError:
        return None


def is_elsewhere(places: Places, lab_id: str) -> bool:
    """Whether something of the lab may be on another machine."""
    return (places.lab(lab_id) / _RECORD).exists()


def owner_of(places: Places, lab_id: str, lifetime: float) -> dict[str, Any]:
    """What is said of a lab on the other machine. `lifetime` is in seconds, 0 for ever."""
    expires = time.time() + lifetime if lifetime else 0
    return {"lab": lab_id, "client": client_of(places), "host": socket.gethostname(), "expires": expires}


def remove_record(places: Places, lab_id: str) -> None:
    (places.lab(lab_id) / _RECORD).unlink(missing_ok=True)


def take_away(places: Places, lab_id: str) -> None:
    """What `down` does where the lab has no keeper any more. The lab's lock is held.

    Raises LabError when the machine does not let it: the lab's folder says where it is for another time.
    """
    uri = None
    with contextlib.suppress(LabError):  # a record that nobody can read must not keep the lab
        uri = read_record(places, lab_id)
    if uri is None:
        return
    run_dir = places.run(lab_id)
    run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        far = Far(uri, run_dir)
        with contextlib.closing(far):
            lab = id_there(places, lab_id)
            far.outpost.ask("open", lab=lab, owner={})
            far.take_away(lab)
    except LabError as error:
        later = f"then `nestlab down {lab_id}` again; if that machine is gone for good: rm -r {places.lab(lab_id)}"
        error.hint = f"{error.hint}; {later}" if error.hint else later
        raise
    remove_record(places, lab_id)


def _is_dead(owner: dict[str, Any], places: Places) -> bool:
    expires = float(owner.get("expires") or 0)
    if expires and time.time() > expires:
        return True
    return owner.get("client") == client_of(places) and not is_locked(places.lab(str(owner.get("lab"))) / "lock")
