"""The dataset doctor's card under the pictures of a new run: what could be mended, and the clicks that do and undo it.

`doctor.js` draws it. Pictures that are left out and squares drawn by hand are kept with the upload; what a setting
mends is a change of the form beside it, which stays the only truth about settings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from studio.data.choices import Choices
from studio.data.cuts import Box
from studio.data.scan import Picture
from studio.options import Option, to_json
from studio.services.studio import Studio
from studio.ui.calls import Visitor
from studio.ui.mounting import mounted

_MOST_SHOWN = 200


# ── what the page's JavaScript asks for ──


def doctor(studio: Studio, visitor: Visitor, upload: str) -> dict[str, Any]:
    """What was found on a scanned upload, what was chosen so far, and the names of all pictures that are concerned."""
    studio.policy.require("upload")
    findings = studio.datasets.examine(upload)
    concerned = {id for finding in findings for id in finding.pictures}
    pictures = studio.datasets.pictures(upload)
    return {
        "findings": to_json(findings),
        "count": len(pictures),
        "pictures": {one.id: _about(one) for one in pictures if one.id in concerned},
        **_chosen(studio.datasets.choices(upload)),
    }


def upload_pictures(studio: Studio, visitor: Visitor, upload: str, start: int = 0) -> list[dict[str, Any]]:
    """At most 200 of the pictures of a scanned upload, from the `start`-th on: {"id", "label", "size"}."""
    studio.policy.require("upload")
    shown = studio.datasets.pictures(upload)[max(0, start) : max(0, start) + _MOST_SHOWN]
    return [{"id": one.id, **_about(one)} for one in shown]


def leave_out(studio: Studio, visitor: Visitor, upload: str, ids: list[str]) -> dict[str, Any]:
    """Do not use these pictures. This and the calls below answer {"left_out", "squares"}."""
    studio.policy.require("upload")
    return _chosen(studio.datasets.leave_out(upload, ids))


def take_back(studio: Studio, visitor: Visitor, upload: str, ids: list[str]) -> dict[str, Any]:
    """Use these pictures again."""
    studio.policy.require("upload")
    return _chosen(studio.datasets.take_back(upload, ids))


def crop_picture(studio: Studio, visitor: Visitor, upload: str, id: str, square: Box | None = None) -> dict[str, Any]:
    """Use this part of one picture, given as shares of its width and height; nothing gives it back to the settings."""
    studio.policy.require("upload")
    return _chosen(studio.datasets.crop(upload, id, square))


CALLS = (doctor, upload_pictures, leave_out, take_back, crop_picture)


def _about(picture: Picture) -> dict[str, str]:
    return {"label": picture.place.label, "size": f"{picture.width} × {picture.height}"}


def _chosen(choices: Choices) -> dict[str, Any]:
    return {"left_out": choices.left_out, "squares": to_json(choices.squares)}


# ── the card ──


def build() -> gr.HTML:
    """The card, empty until pictures were looked through."""
    return mounted("doctor")


def wire(card: gr.HTML, settings: Sequence[Option], controls: Sequence[Any], planned: Callable[..., None]) -> None:
    """A mend that is a setting changes the form; every mend plans anew; the card hears of every change of the form.

    Args:
        settings, controls: the options of preparing and their components, in the same order.
        planned: plans anew after an event, of which it is given the `then`.
    """
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

    def mend(event: gr.EventData) -> list[Any]:
        return mended(settings, event._data)

    planned(card.select(mend, None, list(controls), trigger_mode="multiple", **quiet).then)
    names = ", ".join(f'"{option.name}"' for option in settings)
    tell = f"""(...values) => {{
        const names = [{names}];
        const detail = Object.fromEntries(names.map((name, place) => [name, values[place]]));
        window.dispatchEvent(new CustomEvent("studio-prepare", {{ detail }}));
        return [];
    }}"""
    gr.on([control.change for control in controls], None, list(controls), None, js=tell, **quiet)


def mended(settings: Sequence[Option], data: Any) -> list[Any]:
    """The form's values after a mend: {"settings": {name: value}} changes some of them, anything else none.

    Raises:
        BadInput: a value that the setting cannot have.
    """
    wanted = data.get("settings") if isinstance(data, dict) else None
    wanted = wanted if isinstance(wanted, dict) else {}
    return [option.check(wanted[option.name]) if option.name in wanted else gr.skip() for option in settings]
