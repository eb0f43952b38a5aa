"""How the page's JavaScript asks the studio for something: one server function, a closed table of calls, errors as data.

Each room's file lists its own calls; `page.py` puts them together. A call is a function (studio, visitor, **arguments) -> JSON.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from studio.errors import BadInput, StudioError
from studio.options import read_value, to_json
from studio.services.studio import Studio

log = logging.getLogger(__name__)

Call = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Who calls: the token of the open page and the owner behind it."""

    token: str
    owner: str


def table(*rooms: Iterable[Call]) -> Mapping[str, Call]:
    """All calls by name."""
    return {call.__name__: call for room in rooms for call in room}


def answer(
    studio: Studio, calls: Mapping[str, Call], token: str, name: str, arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """Run one call and answer {"result"} or {"error", "hint", "kind"}; never raises."""
    try:
        if not isinstance(name, str) or name not in calls:
            raise BadInput(f"The studio has no call {str(name)[:40]!r}.", "Reload the page.")
        visitor = Visitor(token=token, owner=studio.sessions.owner(token))
        return {"result": to_json(calls[name](studio, visitor, **checked(calls[name], arguments)))}
    except StudioError as error:
        return failure(error)
    except Exception as error:
        return bug(name, error)


def checked(call: Call, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call, each of the type that its annotation says. Raises BadInput."""
    parameters = list(inspect.signature(call).parameters.values())[2:]
    names = {parameter.name for parameter in parameters}
    needed = {parameter.name for parameter in parameters if parameter.default is inspect.Parameter.empty}
    if not isinstance(arguments, Mapping) or not needed <= set(arguments) <= names:
        raise BadInput("The page sent something that the studio does not understand.", "Reload the page.")
    kinds = get_type_hints(call)
    return {name: read_value(kinds[name], value, name) for name, value in arguments.items()}


def failure(error: StudioError) -> dict[str, Any]:
    """An error for people as data."""
    return {"error": error.message, "hint": error.hint, "kind": type(error).__name__}


def bug(where: str, error: Exception) -> dict[str, Any]:
    """Our own mistake: the log gets all of it, people one calm line."""
    log.error("%s failed", where, exc_info=error)
    return {
        "error": "Something went wrong in the studio.",
        "hint": "Nothing is lost; the log says more.",
        "kind": "Bug",
    }
