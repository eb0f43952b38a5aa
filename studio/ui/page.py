"""The page: four rooms under one roof. `build` makes it, `open_page` opens it."""

from __future__ import annotations

from typing import Any, cast

import gradio as gr

from studio.errors import StudioError
from studio.paths import bundled
from studio.services.studio import Studio
from studio.ui import doctor, endpoints, gallery, monitor, play, routes, shelf, train, words
from studio.ui.calls import Visitor, answer, failure, table
from studio.ui.mounting import mounted

_STYLES = ("studio.css", "train.css", "doctor.css", "monitor.css", "shelf.css", "vendor/uplot.css")


def status(studio: Studio, visitor: Visitor) -> dict[str, Any]:
    """How far waking up is, and which runs are under way."""
    return {**studio.engine.status(), "runs": studio.runs.summaries() if studio.policy.allows("train") else ()}


def build(studio: Studio) -> gr.Blocks:
    """The whole page over a studio. Tests build it over a temporary one."""
    with gr.Blocks(title=words.TITLE, analytics_enabled=False, fill_width=True, delete_cache=(3600, 86400)) as page:
        _core(studio)
        with gr.Tabs(elem_id="rooms", selected="shelf"):
            for name, room in (("shelf", shelf), ("play", play), ("train", train), ("gallery", gallery)):
                with gr.Tab(words.ROOMS[name], id=name, elem_id=f"{name}-room"):
                    if hasattr(room, "build"):
                        room.build(studio)
                    else:
                        mounted(name)
        endpoints.add(studio)
    page.queue(max_size=studio.policy.queue_size, default_concurrency_limit=4)
    return cast(gr.Blocks, page)


def _core(studio: Studio) -> None:
    """The head of the page, and the functions that its JavaScript calls."""
    calls = table((status,), shelf.CALLS, play.CALLS, train.CALLS, doctor.CALLS, monitor.CALLS, gallery.CALLS)

    def open(secret: str) -> dict[str, Any]:
        try:
            token = studio.sessions.open(secret)
        except StudioError as error:
            return failure(error)
        may = {action: studio.policy.allows(action) for action in ("train", "upload", "shelf", "import")}
        return {"result": {"token": token, "public": studio.policy.public, "may": may}}

    def call(request: list[Any]) -> dict[str, Any]:
        token, name, arguments = request if isinstance(request, list) and len(request) == 3 else ("", "", {})
        return answer(studio, calls, token, name, arguments)

    async def wish(request: list[Any]) -> dict[str, Any]:
        token, text = request if isinstance(request, list) and len(request) == 2 else ("", "")
        try:
            return await routes.draw_wish_as_text(studio.canvas(token), text)
        except StudioError as error:
            return failure(error)

    mounted("head", server_functions=[open, call, wish])


def open_page(page: gr.Blocks, studio: Studio, **launch: Any) -> Any:
    """Open a built page; `launch` goes to Gradio's own `launch`. Returns what that returns."""
    assets = bundled("assets")
    return page.launch(
        theme=_theme(),
        css_paths=[assets / name for name in _STYLES],
        head=(assets / "head.html").read_text(),
        favicon_path=assets / "favicon.png",
        app_kwargs={"routes": routes.routes(studio)},
        max_file_size="20mb" if studio.policy.public else "512mb",
        footer_links=["api"],
        ssr_mode=False,
        run_history=False,
        strict_cors=True,
        **launch,
    )


def _theme() -> gr.themes.Base:
    """Gradio's plain theme with our fonts; the colours are in studio.css."""
    return gr.themes.Base(
        font=["Instrument Sans", "system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )
