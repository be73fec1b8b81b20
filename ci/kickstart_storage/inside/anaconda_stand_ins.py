"""Three imports of anaconda's, answered here. They are of no concern to storage: a package that Debian does not have,
the order of kernel packages' names, and whether an OSTree deployment brings bootupd."""

import sys
import types
from typing import Any


def stand_in(name: str, **values: Any) -> None:
    module = types.ModuleType(name)
    module.__dict__.update(values)
    sys.modules[name] = module


stand_in("requests_ftp", FTPAdapter=object)
stand_in("rpm", labelCompare=None)
stand_in("pyanaconda.modules.payloads.payload.rpm_ostree.util", have_bootupd=lambda *_: False)
