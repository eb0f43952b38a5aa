"""Loading the page anew, and waiting for the live picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_CUT = ("AbortError", "Connection errored out")
"""What Gradio says on the console of its own connection when a page goes away; that is no fault of ours."""
PICTURE = "() => document.querySelector('#live-canvas').toDataURL()"
_RESTS = """() => {
    const canvas = window.latentStudioPlayer.canvas;
    return canvas.shown === canvas.stamp && !canvas.underway.size && !canvas.draft;
}"""


def settle(page: Any) -> str:
    """The picture at rest, at its full size: a slow machine shows drafts first, which lack the last layers."""
    page.wait_for_function(_RESTS)
    picture: str = page.evaluate(PICTURE)
    return picture


def load_anew(page: Any) -> None:
    """Reload the page."""
    page.reload()
    _arrive(page)


def around_an_end(page: Any, address: str, end: Callable[[], None]) -> None:
    """Leave the page, let `end` end the studio and start it again, and come back."""
    page.goto("about:blank")
    end()
    page.goto(address)
    _arrive(page)


def _arrive(page: Any) -> None:
    page.locator("#status-chip").wait_for()
    forget_the_cut(page)


def forget_the_cut(page: Any) -> None:
    """Forget what Gradio said when its connection was cut because the page went away."""
    page.complaints[:] = [complaint for complaint in page.complaints if not any(words in complaint for words in _CUT)]
