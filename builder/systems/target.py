"""What a judge of answers may know of the machine. Judges share no code with what writes the answers: this is a
description alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class TargetDisk(Protocol):
    """A disk by the path that an answer would give it; sizes in bytes."""

    @property
    def path(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def sector(self) -> int: ...


class TargetCard(Protocol):
    @property
    def device(self) -> str: ...
    @property
    def mac(self) -> str: ...


class Target(Protocol):
    """The machine that the answers are for."""

    @property
    def firmware(self) -> str: ...
    @property
    def disks(self) -> Sequence[TargetDisk]: ...
    @property
    def cards(self) -> Sequence[TargetCard]: ...
