"""An XAPI that keeps fields of objects and answers xe's generated commands about them; each call is judged.

For the logic of procedures: what XAPI does with a field is shown by a real host only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tests.support.fake_host import Answer, FakeHost
from tests.support.xe_rules import problems

Fields = dict[str, "str | dict[str, str]"]


class FakeXapi(FakeHost):
    """`objects`: class -> uuid -> field -> value, or a map. Commands that no class has are among `answers`."""

    QUESTIONS = (*FakeHost.QUESTIONS, "xe vm-list", "xe vif-list", "xe pif-list", "xe pool-list", "xe network-list")

    def __init__(
        self, objects: Mapping[str, Mapping[str, Fields]], answers: Mapping[str, Answer], files: Mapping[str, str]
    ) -> None:
        self.objects = {kind: dict(own) for kind, own in objects.items()}
        super().__init__({**answers}, files, dialect="xe")
        for kind in objects:
            for verb, do in self._verbs(kind).items():
                self.answers.setdefault(f"xe {kind}-{verb}", self._judged(do))

    def _verbs(self, kind: str) -> dict[str, Callable[[dict[str, str]], str | int]]:
        return {
            "list": lambda given: self._list(kind, given),
            "param-get": lambda given: self._get(kind, given),
            "param-set": lambda given: self._set(kind, given),
            "param-clear": lambda given: self._put(kind, given["uuid"], given["param-name"], ""),
            "param-remove": lambda given: self._map(kind, given).pop(given["param-key"], "") and "",
        }

    @staticmethod
    def _judged(do: Callable[[dict[str, str]], str | int]) -> Callable[[Sequence[str]], str | int]:
        def answer(argv: Sequence[str]) -> str | int:
            assert problems(argv[1:], "8.3") == []
            return do(dict(word.partition("=")[::2] for word in argv[2:]))

        return answer

    def _list(self, kind: str, given: dict[str, str]) -> str:
        wanted = {key: value for key, value in given.items() if key not in {"--minimal", "params"}}
        shown = given.get("params", "uuid")
        rows = [{"uuid": uuid, **fields} for uuid, fields in self.objects[kind].items()]
        found = [str(row[shown]) for row in rows if all(row.get(key) == value for key, value in wanted.items())]
        return ",".join(found) + "\n"

    def _get(self, kind: str, given: dict[str, str]) -> str | int:
        if "param-key" in given:
            return f"{self._map(kind, given).get(given['param-key'], '')}\n"
        return f"{self.objects[kind][given['uuid']][given['param-name']]}\n"

    def _set(self, kind: str, given: dict[str, str]) -> str:
        for name, value in given.items():
            field, colon, key = name.partition(":")
            if colon:
                self._map(kind, {**given, "param-name": field})[key] = value
            elif name != "uuid":
                self._put(kind, given["uuid"], name, value)
        return ""

    def _put(self, kind: str, uuid: str, name: str, value: str) -> str:
        self.objects[kind][uuid][name] = value
        return ""

    def _map(self, kind: str, given: Mapping[str, str]) -> dict[str, str]:
        held = self.objects[kind][given["uuid"]][given["param-name"]]
        assert isinstance(held, dict)
        return held
