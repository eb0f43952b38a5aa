"""The studio's own web addresses under /gradio_api/studio: assets, the live canvas, uploads, files.

Gradio's own login does not cover them, so each but the assets asks for the token that `open` gave to this page.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from studio.errors import BadInput, NotFound, StudioError
from studio.paths import bundled
from studio.services.canvas import Canvas
from studio.services.studio import Studio
from studio.ui.calls import bug, failure
from studio.ui.door import STAGE_PATH

PREFIX = "/gradio_api/studio"

_MOST_RECIPE_BYTES = 64 << 20
_PIECE_BYTES = 1 << 20
_IMMUTABLE = {"Cache-Control": "private, max-age=31536000, immutable"}


def routes(studio: Studio) -> list[BaseRoute]:
    """All of them, for `launch(app_kwargs={"routes": …})`."""
    return [
        Route(STAGE_PATH, _opened),
        Mount(f"{PREFIX}/assets", StaticFiles(directory=bundled("assets"))),
        WebSocketRoute(f"{PREFIX}/live", _live(studio)),
        Route(f"{PREFIX}/file/{{kind}}/{{name:path}}", _file(studio)),
        Route(f"{PREFIX}/training/{{run}}/{{place}}", _training_picture(studio)),
        Route(f"{PREFIX}/upload/{{upload_id}}", _guarded(studio, _upload), methods=["POST"]),
        Route(f"{PREFIX}/import/{{import_id}}", _guarded(studio, _import_file), methods=["POST"]),
        Route(f"{PREFIX}/import/{{import_id}}/forget", _guarded(studio, _forget_import), methods=["POST"]),
        Route(f"{PREFIX}/recipe", _guarded(studio, _recipe), methods=["POST"]),
    ]


async def _opened(request: Request) -> Response:
    return Response(status_code=204)


# ── the live canvas ──


def _live(studio: Studio) -> Callable[[WebSocket], Awaitable[None]]:
    """Wishes in as JSON text, frames out as bytes; a wish that fails answers with a sentence as JSON text."""

    async def endpoint(socket: WebSocket) -> None:
        await socket.accept()
        try:
            canvas = studio.canvas(socket.query_params.get("token", ""))
        except StudioError as error:
            await socket.send_text(json.dumps(failure(error)))
            await socket.close(4401)
            return
        await _serve_wishes(socket, canvas)

    return endpoint


async def _serve_wishes(socket: WebSocket, canvas: Canvas) -> None:
    underway: set[asyncio.Task[None]] = set()
    while (message := await socket.receive())["type"] != "websocket.disconnect":
        task = asyncio.create_task(_answer_wish(socket, canvas, message.get("text") or ""))
        underway.add(task)
        task.add_done_callback(underway.discard)
    for task in underway:
        task.cancel()


async def _answer_wish(socket: WebSocket, canvas: Canvas, text: str) -> None:
    answer = await draw_wish(canvas, text)
    try:
        if isinstance(answer, bytes):
            await socket.send_bytes(answer)
        else:
            await socket.send_text(json.dumps(answer))
    except (WebSocketDisconnect, RuntimeError):
        pass  # the page went away while its picture was being drawn


async def draw_wish(canvas: Canvas, text: str) -> bytes | dict[str, Any]:
    """The frame of a wish, or {"stamp", "dropped"} or {"stamp", "error", "hint"}."""
    stamp = None
    try:
        message = json.loads(text)
        if not isinstance(message, dict):
            raise BadInput("A wish is a table.", "Reload the page.")
        stamp = message.get("stamp")
        frame = await canvas.wish(message)
        return frame if frame is not None else {"stamp": stamp, "dropped": True}
    except StudioError as error:
        return {"stamp": stamp, **failure(error)}
    except (ValueError, RecursionError):
        return {"stamp": stamp, **failure(BadInput("A wish could not be read.", "Reload the page."))}
    except Exception as error:
        return {"stamp": stamp, **bug("A wish", error)}


async def draw_wish_as_text(canvas: Canvas, text: str) -> dict[str, Any]:
    """The same for pages that no WebSocket reaches: the frame as {"frame": base64}."""
    answer = await draw_wish(canvas, text)
    return {"frame": base64.b64encode(answer).decode()} if isinstance(answer, bytes) else answer


# ── files out ──


def _file(studio: Studio) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            owner = studio.sessions.owner(request.query_params.get("token", ""))
            kind, name = request.path_params["kind"], request.path_params["name"]
            path = await run_in_threadpool(_find_file, studio, owner, kind, name)
        except StudioError as error:
            return JSONResponse(failure(error), status_code=404)
        download = _name_of(kind, name, path) if "download" in request.query_params else None
        return FileResponse(path, filename=download, headers=_IMMUTABLE if kind != "model" else None)

    return endpoint


def _training_picture(studio: Studio) -> Callable[[Request], Awaitable[Response]]:
    """One picture that a run learns from, by its place; for those who may train."""

    def draw(request: Request) -> bytes:
        studio.sessions.owner(request.query_params.get("token", ""))
        studio.policy.require("train")
        run, place = request.path_params["run"], request.path_params["place"]
        number = int(place) if place.isascii() and place.isdecimal() and len(place) < 10 else -1
        return studio.stages.training_picture(run, number)

    async def endpoint(request: Request) -> Response:
        try:
            picture = await run_in_threadpool(draw, request)
        except StudioError as error:
            return JSONResponse(failure(error), status_code=404)
        return Response(picture, media_type="image/webp", headers=_IMMUTABLE)

    return endpoint


def _name_of(kind: str, name: str, path: Path) -> str:
    """What a download is called."""
    return f"{name.replace('@', '-')}.zip" if kind == "model-zip" else path.name


def _find_file(studio: Studio, owner: str, kind: str, name: str) -> Path:
    first, _, rest = name.partition("/")
    if kind in {"preview", "sheet", "upload", "thumb", "large"}:
        studio.policy.require("train")
    if kind == "import":
        studio.policy.require("import")
    finders: dict[str, Callable[[], Path]] = {
        "model": lambda: studio.model_folder(first) / "preview.webp",
        "model-zip": lambda: studio.packed_model(first),
        "picture": lambda: studio.gallery.file(owner, first),
        "thumbnail": lambda: studio.gallery.thumbnail(owner, first),
        "film": lambda: studio.exports.file(owner, first),
        "preview": lambda: studio.runs.preview_file(first, rest),
        "sheet": lambda: studio.datasets.folder(first) / "sheet.webp",
        "upload": lambda: studio.datasets.sheet(first),
        "thumb": lambda: studio.datasets.thumb(first, rest),
        "large": lambda: studio.datasets.thumb(first, rest, large=True),
        "import": lambda: studio.imports.sheet(first, int(rest) if rest.isdecimal() else -1),
    }
    if kind not in finders:
        raise NotFound("There is no such file.", "Reload the page.")
    path = finders[kind]()
    if not path.is_file():
        raise NotFound("There is no such file any more.", "Reload the page.")
    return path


# ── files in ──


def _guarded(
    studio: Studio, handle: Callable[[Studio, str, Request], Awaitable[Any]]
) -> Callable[[Request], Awaitable[Response]]:
    """A route that answers JSON and turns every error into data."""

    async def endpoint(request: Request) -> Response:
        try:
            owner = studio.sessions.owner(request.query_params.get("token", ""))
            return JSONResponse({"result": await handle(studio, owner, request)})
        except StudioError as error:
            return JSONResponse(failure(error), status_code=400)
        except Exception as error:
            return JSONResponse(bug(request.url.path, error), status_code=500)

    return endpoint


async def _upload(studio: Studio, owner: str, request: Request) -> dict[str, int]:
    """A batch of files, each part's file name being its path inside the dropped folder."""
    studio.policy.require("upload")
    upload_id = request.path_params["upload_id"]
    async with request.form(max_files=200, max_fields=10) as form:
        parts = [part for part in form.getlist("files") if not isinstance(part, str)]
        for part in parts:
            await run_in_threadpool(studio.datasets.add, upload_id, part.filename or "unnamed", part.file)
    return {"received": len(parts)}


async def _import_file(studio: Studio, owner: str, request: Request) -> dict[str, int]:
    """One file of a model, as the body; the path that it had is the query's `path`. It goes to the disk as it comes."""
    studio.policy.require("import")
    path = request.query_params.get("path", "unnamed")
    received, waiting = 0, bytearray()
    try:
        with studio.imports.receive(request.path_params["import_id"], path) as write:
            async for chunk in request.stream():
                waiting += chunk
                received += len(chunk)
                if len(waiting) >= _PIECE_BYTES:
                    await run_in_threadpool(write, bytes(waiting))
                    waiting.clear()
            await run_in_threadpool(write, bytes(waiting))
            _require_whole(request, received)
    except ClientDisconnect:
        raise BadInput("The upload was cut off.", "Drop the file again.") from None
    return {"received": received}


async def _forget_import(studio: Studio, owner: str, request: Request) -> bool:
    """An import whose page was closed or loaded anew; browsers send nothing but a POST then."""
    studio.policy.require("import")
    await run_in_threadpool(studio.imports.forget, request.path_params["import_id"])
    return True


def _require_whole(request: Request, received: int) -> None:
    promised = request.headers.get("content-length", "")
    if promised.isdecimal() and int(promised) != received:
        raise BadInput("The upload was cut off.", "Drop the file again.")


async def _recipe(studio: Studio, owner: str, request: Request) -> dict[str, Any]:
    """The recipe inside a picture that was dropped on the page."""
    from studio.media.stills import read_recipe

    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > _MOST_RECIPE_BYTES:
            raise BadInput("This picture is too large to be one of the studio's.", "Drop a PNG that was saved here.")
    recipe = read_recipe(data)
    if recipe is None:
        raise BadInput(
            "This picture carries no recipe.",
            "Only PNGs saved by the studio do; sending one through a chat or an editor removes it.",
        )
    return recipe
