"""Rooms of the page that JavaScript draws: an empty Gradio HTML component that its module in assets/ fills."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

_LOAD = """
const module = new URL("gradio_api/studio/assets/{name}.js", document.baseURI).href;
const functions = typeof server === "undefined" ? undefined : server;
import(module).then((room) => room.mount(element, {{ trigger, props, server: functions }}));
"""


def mounted(name: str, *, server_functions: list[Callable[..., Any]] | None = None, **props: Any) -> gr.HTML:
    """A component that `assets/{name}.js` mounts itself in, by its exported `mount(element, {trigger, props, server})`."""
    return gr.HTML(
        html_template="<div></div>",
        js_on_load=_LOAD.format(name=name),
        server_functions=server_functions,
        elem_id=f"{name}-mount",
        elem_classes="mount",
        apply_default_css=False,
        **props,
    )
