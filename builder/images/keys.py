"""Keys of images: a digest of everything that shapes their bytes. Equal inputs, equal key; nothing else goes in."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from builder.images.hosts import HostInputs
from builder.model.plan import Recipe

# Raised when the code that builds changes what it makes from equal inputs.
_VERSIONS = {"rootfs": 1, "disk": 1, "initramfs": 1}


def image_key(recipe: Recipe, host: HostInputs) -> str:
    """The key of the image that `recipe` gives on this host. Pure."""
    tools = host.tools if recipe.kind == "disk" else {}
    return _digest(recipe.kind, {"recipe": recipe.model_dump(mode="json"), "tools": dict(tools)}, host)


def rootfs_key(recipe: Recipe, host: HostInputs) -> str:
    """The key of the file tree below a disk image: shared by all recipes that differ only in files and commands."""
    inputs = {
        "distribution": recipe.distribution,
        "release": recipe.release,
        "elements": list(recipe.elements),
        "packages": sorted(set(recipe.packages)),
    }
    return _digest("rootfs", inputs, host)


def _digest(kind: str, inputs: dict[str, Any], host: HostInputs) -> str:
    whole = {
        "kind": kind,
        "version": _VERSIONS[kind],
        "inputs": inputs,
        "sources": host.sources_digest(),
        "assets": host.assets,
    }
    return hashlib.sha256(json.dumps(whole, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
