"""Templates of one system: those that ship in `answerfiles/<system>/` and, for all systems, in `answerfiles/shared/`,
and a user's own that stand before them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import LabError
from builder.paths import data_dir

if TYPE_CHECKING:
    import jinja2

MARKUP = ("xml", "xml.j2")
SHARED = "shared"


class TemplateFailed(LabError):
    """A template is missing, is no template, or asks for a value that is not there."""


class Templates:
    """Where a system's templates come from: `answerfiles/`, or another shipped `folder`. `overrides` is a folder of
    the user's with the same layout: a file in `<overrides>/<system>/` stands in for the shipped one of that name."""

    def __init__(self, system: str, overrides: Path | None = None, *, folder: str = "answerfiles") -> None:
        shipped = data_dir(folder) / system
        self.system = system
        self.overrides = overrides
        own = () if overrides is None else (overrides / system,)
        self.folders = (*own, shipped, data_dir("answerfiles") / SHARED)

    def render(self, name: str, **values: Any) -> str:
        """The text of one template. Raises TemplateFailed, with the template's file and line where they are known."""
        import jinja2  # noqa: PLC0415 - 50 ms that only rendering should pay

        try:
            return self._environment.get_template(name).render(**values)
        except jinja2.TemplateNotFound as error:
            looked = ", ".join(str(folder) for folder in self.folders)
            raise TemplateFailed(
                f"there is no template {error.name} for the system {self.system}",
                hint=f"looked in {looked}; is the installation complete?",
            ) from None
        except jinja2.TemplateSyntaxError as error:
            raise TemplateFailed(
                f"{error.filename or name}:{error.lineno}: {error.message}", hint="mend the template at that line"
            ) from None
        except jinja2.UndefinedError as error:
            raise TemplateFailed(
                f"{self._file(name)}: {error.message}",
                hint=f"the values this template is given: {', '.join(sorted(values)) or 'none'}",
            ) from None
        except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
            raise TemplateFailed(
                f"{self._file(name)}: {type(error).__name__}: {error}", hint="mend the template"
            ) from error

    @functools.cached_property
    def _environment(self) -> jinja2.Environment:
        import jinja2  # noqa: PLC0415

        from builder.render.quoting import FILTERS  # noqa: PLC0415

        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader([str(folder) for folder in self.folders]),
            undefined=jinja2.StrictUndefined,
            autoescape=jinja2.select_autoescape(enabled_extensions=MARKUP, default=False),
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        environment.filters.update(FILTERS)
        return environment

    def _file(self, name: str) -> Path:
        return next((folder / name for folder in self.folders if (folder / name).is_file()), Path(name))
