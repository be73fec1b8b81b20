"""A preseed file as answers, read by the rules of the installer's own debconf-set-selections (preseed-common).

Only a `#` in the first column begins a comment; a backslash at the end joins the next line with one space; blanks
before a line are dropped; the fourth field goes to the end of the line, without quotes or escapes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from builder.systems.debian.judge.report import Report


@dataclass(frozen=True, slots=True)
class Answer:
    owner: str
    name: str
    kind: str
    value: str
    line: int


@dataclass(slots=True)
class Answers:
    """In the order of their lines; the last one for a question counts."""

    all: list[Answer] = field(default_factory=list)

    def get(self, name: str) -> Answer | None:
        return next((answer for answer in reversed(self.all) if answer.name == name), None)

    def value(self, name: str) -> str:
        """Empty for a question without an answer."""
        answer = self.get(name)
        return answer.value if answer else ""

    def line(self, name: str) -> int:
        answer = self.get(name)
        return answer.line if answer else 0

    def words(self, name: str) -> tuple[str, ...]:
        return tuple(self.value(name).split())


def read_preseed(text: str, report: Report) -> Answers:
    """What can be read; the rest goes to the report."""
    answers = Answers()
    joined: list[str] = []
    start = 0
    for number, raw in enumerate(text.split("\n"), 1):
        if raw.startswith("#") or not raw.strip():
            continue
        line = raw.replace("\r", "").lstrip()
        start = start or number
        if line.endswith("\\"):
            joined.append(line[:-1].rstrip())
            continue
        _take(" ".join([*joined, line]), start, answers, report)
        joined, start = [], 0
    if joined:
        report.add("NLD002", start, "the file ends in a line that goes on", "take its last backslash away")
    return answers


def _take(line: str, number: int, answers: Answers, report: Report) -> None:
    if line.startswith("#"):
        report.add("NLD003", number, f"{line[:60]} is no comment: it does not begin the line", "take the blanks away")
        return
    fields = line.split(None, 3)
    if len(fields) < 3:
        report.add("NLD001", number, f"a line has an owner, a question, a type and a value: {line[:60]}",
                   "d-i time/zone select Etc/UTC")  # fmt: skip
        return
    owner, name, kind, *rest = fields
    answers.all.append(Answer(owner, name, kind, rest[0].rstrip() if rest else "", number))
