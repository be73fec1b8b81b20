"""Scripts that the installer runs: it looks at their first line alone."""

from __future__ import annotations

from builder.model.plan import Finding
from builder.systems.xcpng.judge.report import Report

_ALONE = ("/bin/sh", "/bin/bash", "/usr/bin/python")
_READ = 40  # characters of the first line that are looked at


def judge_script(name: str, content: str, release: str) -> tuple[Finding, ...]:
    """What is wrong with the first line of a script."""
    report = Report(release, name)
    line = content.split("\n", 1)[0][:_READ]
    words = line[2:].split() if line.startswith("#!") else []
    if not words or not (words[0] in _ALONE or words[:2] == ["/usr/bin/env", "python"]):
        report.add("NLX059", "", f"the installer does not run a script that begins with {line[:40]!r}",
                   "#!/bin/sh, #!/bin/bash, #!/usr/bin/python or #!/usr/bin/env python")  # fmt: skip
    return tuple(report.found)
