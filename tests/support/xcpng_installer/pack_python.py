"""Packs the installer and those modules of Python that it imports, compiled, into one archive that Python starts from.

Run by the very Python that goes into the image:  pack_python.py FOLDER-WITH-inside OUT.zip
"""

from __future__ import annotations

import importlib
import marshal
import struct
import sys
import zipfile
from importlib.util import MAGIC_NUMBER
from pathlib import Path

# Imported when they are needed, or before anything else.
ALSO = ("encodings.ascii", "encodings.latin_1", "encodings.idna", "site", "runpy", "unicodedata")


def compiled(path: Path, name: str) -> bytes:
    """As a .pyc of no source: what is compiled is not looked up again."""
    code = compile(path.read_bytes(), f"{name}.py", "exec", dont_inherit=True, optimize=0)
    return MAGIC_NUMBER + struct.pack("<III", 0, 0, 0) + marshal.dumps(code)


def main(folder: Path, out: Path) -> None:
    sys.path.insert(0, str(folder))
    for name in ("inside.install", *ALSO):
        importlib.import_module(name)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, module in sorted(sys.modules.items()):
            origin = getattr(module, "__file__", None)
            if not origin or not origin.endswith(".py") or name == "__main__":
                continue
            path = Path(origin)
            inside = name.replace(".", "/") + ("/__init__" if path.name == "__init__.py" else "")
            entry = zipfile.ZipInfo(f"{inside}.pyc", (1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, compiled(path, inside))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
