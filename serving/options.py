"""Query options of the restoration routes; what is not known is refused by name."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.datastructures import QueryParams

from serving.errors import BadValueError, UnknownOptionError

SUPER_RESOLUTION = "super-resolution"
TASKS = ("derain", "denoise", SUPER_RESOLUTION)
SCALES = (2, 4)


@dataclass(frozen=True)
class Options:
    """What a client asked for; None leaves the choice to the server."""

    model: str | None = None
    scale: int | None = None


def known_options(task: str) -> tuple[str, ...]:
    """Names of the options the route of this task takes."""
    return ("model", "scale") if task == SUPER_RESOLUTION else ("model",)


def parse_options(query: QueryParams, task: str) -> Options:
    """Reads the query of a restoration route.

    Raises:
        UnknownOptionError: A name the route does not have, or one given twice.
        BadValueError: A scale that is not offered, or an empty value.
    """
    known = known_options(task)
    names = [name for name, _ in query.multi_items()]
    for name in names:
        shown = repr(name[:80])
        if name not in known:
            raise UnknownOptionError(f"Unknown option {shown}. /v1/{task} takes: {', '.join(known)}.")
        if names.count(name) > 1:
            raise UnknownOptionError(f"Option {shown} is given more than once. Give it once.")
    return Options(_model(query.get("model")), _scale(query.get("scale")))


def _model(value: str | None) -> str | None:
    if value == "":
        raise BadValueError("Option 'model' is empty. Give a name that /v1/models lists, or leave the option out.")
    return value


def _scale(value: str | None) -> int | None:
    if value is None:
        return None
    allowed = {str(scale): scale for scale in SCALES}
    if value not in allowed:
        raise BadValueError(f"Option 'scale' is {value[:80]!r}. Allowed: {', '.join(allowed)}.")
    return allowed[value]
