"""How labs stand: from the keeper where it lives, else from what it last wrote."""

from __future__ import annotations

from builder.errors import LabError
from builder.lifecycle.protocol import KeeperGone, ask, connect
from builder.lifecycle.state import read_status
from builder.model.runtime import LabStatus
from builder.paths import Places, is_locked

_EMULATED = 8.0


def slower_by(found: LabStatus) -> float:
    """How many times what hardware takes a host of this lab may take for a command, a restart, a disk."""
    return 1.0 if found.accelerator == "kvm" else _EMULATED


def status(lab_id: str, places: Places) -> LabStatus:
    """Raises LabError when the lab is not up. A lab whose keeper was killed has the state `dead`."""
    if not places.lab(lab_id).is_dir():
        raise LabError(f"no lab named {lab_id} is up", hint="`nestlab ls` lists the labs that are")
    channel = connect(places.run(lab_id))
    if channel is not None:
        try:
            channel.sock.settimeout(10)
            return LabStatus.model_validate(ask(channel, "status"))
        except KeeperGone:
            pass
        finally:
            channel.close()
    written = read_status(places, lab_id) or LabStatus(lab=lab_id, state="starting")
    if is_locked(places.lab(lab_id) / "lock"):
        return written
    nodes = tuple(node.model_copy(update={"state": "stopped"}) for node in written.nodes)
    return written.model_copy(update={"state": "dead", "keeper_pid": None, "nodes": nodes})


def list_labs(places: Places) -> tuple[LabStatus, ...]:
    """Every lab that has a folder, by name. One whose files are of another version shows as dead."""
    found = []
    folder = places.labs()
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        try:
            found.append(status(path.name, places))
        except LabError:
            if path.is_dir():
                found.append(LabStatus(lab=path.name, state="dead"))
    return tuple(found)
