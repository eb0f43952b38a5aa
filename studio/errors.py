"""The only errors shown to people.

StudioError            what happened, and what to do next
├── BadInput           a value, a picture, an archive or a folder that we cannot use
├── NotFound           no such model, run, dataset, picture or snapshot
├── Damaged            a file of ours that is broken or was cut short
├── NoSpace            the disk or the memory is full
├── Busy               something else holds what is asked for; trying later helps
└── Forbidden          the owner of this studio does not allow it

Anything else that is raised is our bug: it is logged, and people see one calm line.
"""

from __future__ import annotations


class StudioError(Exception):
    """Something went wrong that a person can understand and mend.

    Args:
        message: what happened, as a plain sentence that ends with a full stop.
        hint: what to do next, as a plain sentence; may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class BadInput(StudioError):
    """A value, a picture, an archive or a folder that cannot be used; `field` names the setting, if it is one."""

    def __init__(self, message: str, hint: str = "", *, field: str = "") -> None:
        super().__init__(message, hint)
        self.field = field


class NotFound(StudioError):
    """No such model, run, dataset, picture or snapshot."""


class Damaged(StudioError):
    """A file of ours that is broken or was cut short."""


class NoSpace(StudioError):
    """The disk or the memory is full."""


class Busy(StudioError):
    """Something else holds what is asked for; trying later helps."""


class Forbidden(StudioError):
    """The owner of this studio does not allow it."""
