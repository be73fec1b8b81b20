"""A text that must match a pattern, and what to tell whoever wrote another one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from builder.model.units import BadValue
from builder.model.words import shorten


@dataclass(frozen=True, slots=True)
class Worded:
    """Goes into `Annotated[str, ...]`: the text matches the whole pattern. `what` completes "... is not", `hint` says
    what to write instead. A pattern of pydantic's own would be told in pydantic's words."""

    pattern: str
    what: str
    hint: str
    longest: int = 255
    example: str = ""

    def check(self, value: str) -> str:
        if len(value) > self.longest:
            raise BadValue("lab-bad-value", f"the text is {len(value)} characters long", f"{self.longest} at most")
        if not re.fullmatch(self.pattern, value):
            raise BadValue("lab-bad-value", f"{shorten(value)} is not {self.what}", self.hint)
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        made = {**handler(schema), "pattern": f"^(?:{self.pattern})$", "maxLength": self.longest}
        return made | {"examples": [self.example]} if self.example else made
