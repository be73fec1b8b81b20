"""`nestlab` with this system in its table: python -m tests.support.tiny_installer.command VERB ..."""

from __future__ import annotations

import builder.systems
from builder.cli import main

if __name__ == "__main__":
    where = "tests.support.tiny_installer.system:TinyInstaller"
    builder.systems.SYSTEMS = {**builder.systems.SYSTEMS, "tiny-installer": where}
    main()
