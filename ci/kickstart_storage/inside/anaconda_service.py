"""anaconda's storage service, as `python3 -m pyanaconda.modules.storage` starts it."""

# mypy: disable-error-code="import-not-found"
import runpy

import anaconda_stand_ins  # noqa: F401 - before anything of anaconda's

runpy.run_module("pyanaconda.modules.storage", run_name="__main__")
