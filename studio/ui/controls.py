"""Gradio components made from described options: the same label, range, unit and sentence as on the command line."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

import gradio as gr
from gradio.components import Component

from studio.errors import BadInput
from studio.options import Option, options

_BAR_CHARACTERS = 26
"""Choices whose words are no longer than this together stand side by side; others make a list."""

_CHOICE_WORDS: Mapping[str, str] = {
    "crop": "Crop", "focus": "Focus", "pad": "Pad", "tile": "Tile",
    "rgb": "Colour", "grey": "Grey", "rgba": "Transparent", "auto": "automatic",
    "ada": "ADA", "diffaugment": "DiffAugment", "cpu": "processor", "cuda": "NVIDIA GPU", "mps": "Apple GPU",
    "nonsaturating": "non-saturating", "least_squares": "least squares",
    "rmsprop": "RMSprop", "sgd": "SGD", "adam": "Adam", "stylegan2": "StyleGAN2",
    "stylegan3": "StyleGAN3", "fastgan": "FastGAN", "r3gan": "R3GAN", "dcgan": "DCGAN", "mlp": "MLP",
}  # fmt: skip
_HEX = re.compile(r"#[0-9a-fA-F]{6}")
_NUMBERS = re.compile(r"-?\d+(?:\.\d+)?")


def described(kind: type, *, advanced: bool, skip: Iterable[str] = ()) -> tuple[Option, ...]:
    """The options of a dataclass that are (or are not) for people who want to know more, in order."""
    left_out = frozenset(skip)
    return tuple(one for one in options(kind) if one.advanced == advanced and one.name not in left_out)


def control(option: Option, *, prefix: str, value: Any = None) -> Component:
    """The component for one option, with the element id "<prefix>-<name>".

    A colour becomes a colour picker, an on/off a checkbox, short choices a bar, long ones a list, the rest a number or
    a text.
    """
    common: dict[str, Any] = {
        "label": _label(option),
        "info": option.help,
        "elem_id": f"{prefix}-{option.name}",
        "interactive": True,
    }
    kind = _kind(option)
    if kind is bool:
        return gr.Checkbox(value=value, **common)
    if option.choices:
        choices = [(_CHOICE_WORDS.get(str(choice), str(choice)), choice) for choice in option.choices]
        if sum(len(words) for words, _ in choices) <= _BAR_CHARACTERS:
            return gr.Radio(choices, value=value, elem_classes="segmented", **common)
        return gr.Dropdown(choices, value=value, **common)
    if kind in (int, float):
        # without limits and rounding: Gradio's own refusal does not say which number it means, `Option.check` does
        return gr.Number(value=value, step=_step(option, kind), **common)
    if _is_colour(option):
        return gr.ColorPicker(value=value, **common)
    return gr.Textbox(value=value, **common)


def values(chosen: Sequence[Option], given: Sequence[Any]) -> dict[str, Any]:
    """What people set, by the names of the options; what is empty is left out.

    Raises:
        BadInput: a value outside its range or its choices.
    """
    found, wrong = _read(chosen, given)
    if wrong:
        raise wrong[0]
    return found


def refusals(chosen: Sequence[Option], given: Sequence[Any]) -> list[BadInput]:
    """All that is wrong with what people set, each with the field that it is about."""
    return _read(chosen, given)[1]


def _read(chosen: Sequence[Option], given: Sequence[Any]) -> tuple[dict[str, Any], list[BadInput]]:
    found, wrong = {}, []
    for option, value in zip(chosen, given, strict=True):
        if value is not None and value != "":
            try:
                found[option.name] = option.check(_as(option, value))
            except BadInput as refusal:
                wrong.append(refusal)
    return found, wrong


def _as(option: Option, value: Any) -> Any:
    """The value in the type of its option: Gradio gives whole numbers as floats, and colours as rgba()."""
    kind = _kind(option)
    if kind in (int, float):
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise option.wrong(f"{option.label} must be a number, not {str(value)[:40]!r}.") from None
        if kind is float or not math.isfinite(number):
            return number
        if not number.is_integer():
            raise option.wrong(f"{option.label} must be a whole number, not {number:g}.")
        return int(number)
    return hexadecimal(value) if _is_colour(option) else value


def hexadecimal(colour: str) -> str:
    """A colour as #rrggbb, from that or from the "rgb(…)" and "rgba(…)" that colour pickers give.

    Raises:
        BadInput: it is neither.
    """
    if _HEX.fullmatch(colour):
        return colour.lower()
    parts = [float(number) for number in _NUMBERS.findall(colour)][:3] if colour.startswith("rgb") else []
    if len(parts) < 3:
        raise BadInput(f"{colour[:40]!r} is not a colour.", "Write it as #rrggbb, such as #ffffff.")
    return "#" + "".join(f"{min(255, max(0, round(part))):02x}" for part in parts)


def _kind(option: Option) -> Any:
    """The type of an option without its None."""
    return next((kind for kind in get_args(option.type) if kind is not type(None)), option.type)


def _is_colour(option: Option) -> bool:
    return isinstance(option.default, str) and _HEX.fullmatch(option.default) is not None


def _label(option: Option) -> str:
    """With its unit, unless that is its last word already."""
    told = not option.unit or option.label.endswith(option.unit)
    return option.label if told else f"{option.label} ({option.unit})"


def _step(option: Option, kind: type) -> float:
    """How far an arrow key goes: what the option says, else 1 for whole numbers and about a tenth of the default."""
    if option.step is not None:
        return option.step
    if kind is int:
        return 1
    return 10.0 ** (math.floor(math.log10(abs(option.default))) - 1) if option.default else 0.1
