"""What this host has, for judging whether a lab can fit on it at all."""

from __future__ import annotations

import os
import shutil

from builder.lifecycle.doctor_ground import nearest
from builder.model.load import HostLimits
from builder.paths import Places


def host_limits(places: Places) -> HostLimits:
    """All memory and cores of this machine, whether in use or not, and the room left where labs are kept."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return HostLimits(
        memory=memory, cpus=len(os.sched_getaffinity(0)), disk_free=shutil.disk_usage(nearest(places.state)).free
    )
