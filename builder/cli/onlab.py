"""Verbs that act on a lab that is up, in several ways: `nestlab net LAB`, `nestlab net LAB cut NODE NETWORK`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from builder.cli.frame import App
from builder.cli.labs import complete_node, running_lab

if TYPE_CHECKING:
    from builder.lifecycle.world import LabWorld

NODE = click.argument("node", metavar="NODE", shell_complete=complete_node)


class OnLab(click.Group):
    """A group whose argument LAB comes before its command. Its options may stand on either side of LAB; what follows
    the command's name is the command's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] in self.commands and {*args[1:]} & {*ctx.help_option_names}:
            args = ["LAB", *args]  # the help of a command, by somebody who has no lab yet
        at = next((at for at, word in enumerate(args) if at and word in self.commands), len(args))
        own = args[:at]
        if len(own) > 1 and not own[0].startswith("-") and own[1].startswith("-"):
            own = [*own[1:], own[0]]
        return super().parse_args(ctx, [*own, *args[at:]])


def world_of(ctx: click.Context) -> LabWorld:
    """What can be done from outside to the hosts of the lab that the group or its command was given."""
    from builder.lifecycle.world import LabWorld

    group = ctx if "lab" in ctx.params else ctx.parent
    assert group is not None
    return LabWorld(running_lab(ctx.obj.places, group.params["lab"]), ctx.obj.places)


def tell(app: App, text: str, *, changed: bool = True) -> None:
    """Say how things are now, and whether they were so before."""
    if not app.quiet:
        click.echo(f"{text}{'' if changed else ' already'}", err=True)


class Span(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on only
    """A time span with its unit, such as 20ms or 1.5s, in milliseconds."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        for unit, factor in (("ms", 1.0), ("s", 1000.0)):
            number = str(value).removesuffix(unit)
            if number != value:
                return _number(self, number, str(value), factor, (0, 60_000), (param, ctx))
        return self.fail(f"{value!r} has no unit: write 20ms or 1.5s", param, ctx)


class Share(click.ParamType):  # type: ignore[type-arg]
    """A part of the whole, such as 1%, from 0 to 1."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        number = str(value).removesuffix("%")
        if number == value:
            self.fail(f"{value!r} has no unit: write 1%", param, ctx)
        return _number(self, number, str(value), 0.01, (0, 1), (param, ctx))


def _number(
    kind: Span | Share, number: str, said: str, factor: float, limits: tuple[float, float],
    where: tuple[click.Parameter | None, click.Context | None],
) -> float:  # fmt: skip
    try:
        value = float(number) * factor
    except ValueError:
        kind.fail(f"{said!r} is no number with a unit", *where)
    if not limits[0] <= value <= limits[1]:  # also NaN
        kind.fail(f"{said!r} is not between {limits[0]:g} and {limits[1] / factor:g} of that unit", *where)
    return value
