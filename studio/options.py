"""Described fields: one dataclass field is a slider, a word of the command line, a JSON key and a line of documentation.

    @dataclass(frozen=True, kw_only=True)
    class Settings(Checked):
        r1_gamma: float = option(1.0, help="How strongly D is kept smooth on real pictures.", low=0, high=100)

A value out of range, of the wrong type or under an unknown name raises BadInput with a plain sentence.
Frozen keyword-only dataclasses become JSON by `to_json` and come back equal by `from_json`.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from studio.errors import BadInput

T = TypeVar("T")


def option(
    default: Any = MISSING,
    *,
    help: str,
    label: str = "",
    low: float | None = None,
    high: float | None = None,
    step: float | None = None,
    unit: str = "",
    choices: tuple[Any, ...] = (),
    advanced: bool = False,
    heading: str = "",
) -> Any:
    """A dataclass field with the sentence an artist reads, its range (ends included), its unit and its choices.

    A `heading` stands above it and all fields that follow, until the next one."""
    about = {
        "help": help, "label": label, "low": low, "high": high, "step": step,
        "unit": unit, "choices": choices, "advanced": advanced, "heading": heading,
    }  # fmt: skip
    return dataclasses.field(default=default, metadata={"option": about})


@dataclass(frozen=True, kw_only=True)
class Option:
    """What the page, the command line and the documentation know of one field."""

    name: str
    type: Any
    default: Any
    help: str
    label: str
    low: float | None
    high: float | None
    step: float | None
    unit: str
    choices: tuple[Any, ...]
    advanced: bool
    heading: str

    def parse(self, text: str) -> Any:
        """Turn the text of a command line into a checked value."""
        if self.type is bool:
            if text.lower() not in {"true", "false", "yes", "no", "1", "0"}:
                raise self.wrong(f"{self.label} is on or off, not {text!r}.", "Say true or false.")
            return text.lower() in {"true", "yes", "1"}
        kinds = [kind for kind in get_args(self.type) if kind is not type(None)] or [self.type]
        if text.lower() == "none" and type(None) in get_args(self.type):
            return None
        try:
            return self.check(kinds[0](text))
        except ValueError:
            raise self.wrong(f"{self.label} must be a number, not {text!r}.") from None

    def check(self, value: Any) -> Any:
        """Return `value`, or raise BadInput that names the range or the choices."""
        if value is None:
            return value
        if self.choices and value not in self.choices:
            names = ", ".join(str(choice) for choice in self.choices)
            raise self.wrong(f"{self.label} cannot be {value!r}.", f"Choose one of {names}.")
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if not math.isfinite(value):
                raise self.wrong(f"{self.label} must be a number, not {value}.")
            if (self.low is not None and value < self.low) or (self.high is not None and value > self.high):
                raise self.wrong(f"{self.label} is {_said(value)}, outside {_range(self.low, self.high)}.")
        return value

    def wrong(self, message: str, hint: str = "") -> BadInput:
        """The refusal of a value of this field; without a hint, with the sentence on it."""
        return BadInput(message, hint or self.help, field=self.name)


def _range(low: float | None, high: float | None) -> str:
    if high is None:
        return f"{_said(low or 0)} and above"
    return f"at most {_said(high)}" if low is None else f"{_said(low)} to {_said(high)}"


def _said(number: float) -> str:
    """Whole numbers with every digit, where there are not too many to read."""
    return f"{number:,.0f}" if abs(number) < 1e15 and number == round(number) else f"{number:g}"


@functools.cache
def options(kind: type) -> tuple[Option, ...]:
    """The described fields of a dataclass, in order."""
    hints = _hints(kind)
    return tuple(
        Option(
            name=field.name,
            type=hints[field.name],
            default=None if field.default is MISSING else field.default,
            **{**field.metadata["option"], "label": field.metadata["option"]["label"] or _label(field.name)},
        )
        for field in dataclasses.fields(kind)
        if "option" in field.metadata
    )


def _label(name: str) -> str:
    return name.replace("_", " ").capitalize()


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


class Checked:
    """A dataclass whose described fields are checked whenever one is made."""

    def __post_init__(self) -> None:
        for described in options(type(self)):  # type: ignore[arg-type]  # a class is hashable
            described.check(getattr(self, described.name))


def to_json(value: Any) -> Any:
    """Plain JSON values from dataclasses, tuples and mappings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    return value


def from_json(kind: type[T], data: Any) -> T:
    """The dataclass `kind` from the JSON that `to_json` made.

    Raises:
        BadInput: an unknown or missing key, a wrong type, or a value out of its range.
    """
    return typing.cast(T, _build(kind, data, kind.__name__))


def read_value(kind: Any, data: Any, where: str) -> Any:
    """One JSON value as the type `kind`; `where` names it in the sentence. Raises BadInput."""
    return _build(kind, data, where)


def _build(kind: Any, data: Any, where: str) -> Any:
    if kind is Any:
        return data
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _build_union(get_args(kind), data, where)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _build_dataclass(kind, data, where)
    if origin is tuple:
        return _build_tuple(get_args(kind), data, where)
    if origin is list:
        return list(_build_tuple((get_args(kind)[0], Ellipsis), data, where))
    if origin in (dict, Mapping):
        if not isinstance(data, dict):
            raise _wrong(where, "a table", data)
        return {key: _build(get_args(kind)[1], item, f"{where}.{key}") for key, item in data.items()}
    if kind is float and isinstance(data, (int, float)) and not isinstance(data, bool):
        if not math.isfinite(data):
            raise _wrong(where, "a finite number", data)
        return float(data)
    if kind is int and isinstance(data, bool):
        raise _wrong(where, "a whole number", data)
    if not isinstance(data, kind):
        names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
        raise _wrong(where, names.get(kind, str(kind)), data)
    return data


def _build_union(kinds: tuple[Any, ...], data: Any, where: str) -> Any:
    if data is None and type(None) in kinds:
        return None
    error: BadInput | None = None
    for kind in kinds:
        if kind is not type(None):
            try:
                return _build(kind, data, where)
            except BadInput as refusal:
                error = error or refusal
    raise error or _wrong(where, "a value", data)


def _build_dataclass(kind: Any, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise _wrong(where, "a table", data)
    hints = _hints(kind)
    names = {field.name for field in dataclasses.fields(kind)}
    if unknown := sorted(set(map(str, data)) - names):
        raise BadInput(f"{where} has no field {unknown[0]!r}.", "It may come from a newer version of the studio.")
    required = {f.name for f in dataclasses.fields(kind) if f.default is MISSING and f.default_factory is MISSING}
    if missing := sorted(required - set(data)):
        raise BadInput(f"{where} lacks {missing[0]!r}.", "It may have been cut short; use a complete copy.")
    return kind(**{name: _build(hints[name], item, f"{where}.{name}") for name, item in data.items()})


def _build_tuple(kinds: tuple[Any, ...], data: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(data, (list, tuple)):
        raise _wrong(where, "a list", data)
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(_build(kinds[0], item, f"{where}[{i}]") for i, item in enumerate(data))
    if len(kinds) != len(data):
        raise _wrong(where, f"a list of {len(kinds)}", data)
    return tuple(_build(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(zip(kinds, data, strict=True)))


def _wrong(where: str, wanted: str, data: Any) -> BadInput:
    shown = repr(data)
    return BadInput(
        f"{where} should be {wanted}, not {shown[:60]}.", "Check the value, or start again from a fresh one."
    )
