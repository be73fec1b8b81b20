"""What `up` asks of a keeper."""

from __future__ import annotations

from pydantic import Field

from builder.lifecycle.plan import LabPlan
from builder.model.lab import Value


class UpOptions(Value):
    """`jobs` bounds how many steps run at once, 0 for as many as this host has cores. `timeout_scale` multiplies
    every time-out. `recreate` names live nodes that may be destroyed and made again. `keep_failed` leaves a lab that
    did not come up running, to be looked at. `reinstall` names nodes that are installed though there
    is an image of them. `mirror` is the Debian mirror for images, None for the host's own."""

    connect: str | None = None
    jobs: int = Field(0, ge=0, le=256)
    timeout_scale: float = Field(1.0, gt=0, le=1000)
    recreate: tuple[str, ...] = ()
    reinstall: tuple[str, ...] = ()
    keep_failed: bool = False
    mirror: str | None = None


class Request(Value):
    plan: LabPlan
    options: UpOptions
