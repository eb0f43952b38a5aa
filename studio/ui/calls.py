"""How the page's JavaScript asks the studio for something: one server function, a closed table of calls, errors as data.

Each room's file lists its own calls; `page.py` puts them together. A call is a function (studio, visitor, **arguments) -> JSON.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from studio.errors import BadInput, StudioError
from studio.options import to_json
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
        if name not in calls:
            raise BadInput(f"The studio has no call {str(name)[:40]!r}.", "Reload the page.")
        visitor = Visitor(token=token, owner=studio.sessions.owner(token))
        return {"result": to_json(calls[name](studio, visitor, **arguments))}
    except StudioError as error:
        return failure(error)
    except TypeError as error:
        if name in calls and error.__traceback__ is not None and error.__traceback__.tb_next is None:
            return failure(BadInput("The page sent something that the studio does not understand.", "Reload the page."))
        return bug(name, error)
    except Exception as error:
        return bug(name, error)


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
