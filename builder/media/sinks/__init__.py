"""Where a plan goes: a new file, a qcow2 overlay, the source itself, a pipe, HTTP, a USB disk. All read one plan."""

from __future__ import annotations

from builder.media.sinks.file import write_file
from builder.media.sinks.inplace import apply_in_place, undo_in_place
from builder.media.sinks.qcow2 import write_qcow2
from builder.media.sinks.stream import write_stream

__all__ = ["apply_in_place", "undo_in_place", "write_file", "write_qcow2", "write_stream"]
