"""Named endpoints: everything the page can do, for `gradio_client`, MCP and scripts.

The page itself uses faster ways (`calls.py`, `routes.py`); these do the same work through the same services.
"""

from __future__ import annotations

import functools
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import gradio as gr
from gradio.utils import get_upload_folder

from studio.data.prepare import PrepareSettings
from studio.errors import BadInput, Forbidden, StudioError
from studio.latent.point import Scene
from studio.latent.timeline import Timeline
from studio.options import from_json, to_json
from studio.services.exports import FilmSettings
from studio.services.sessions import LOCAL_OWNER
from studio.services.stages import GrowthSettings
from studio.services.studio import Studio
from studio.services.training_desk import Order
from studio.ui.calls import bug

T = TypeVar("T")
_WAIT_SECONDS = 3600
_INPUTS: dict[Any, Any] = {str: gr.Textbox, int: gr.Number, float: gr.Number, int | None: gr.Number}
_API_OWNER = "api"


def add(studio: Studio) -> None:
    """Add them all to the page that is being built."""
    owner = _API_OWNER if studio.policy.public else LOCAL_OWNER

    def models() -> list[dict[str, Any]]:
        """The models on the shelf: id, title, size, licence, what they were trained on."""
        return [
            {"id": entry.id, **to_json(entry.card)} for entry in studio.shelf.list() if entry.card and not entry.problem
        ]

    def generate(model: str, seed: int, truncation: float, label: int | None, scene: str) -> str:
        """A picture as PNG with its recipe inside. `scene` (JSON), if given, says it all and the rest is not looked at."""
        wish = _read(Scene, scene) if scene else _scene(model, seed, truncation, label)
        return _hand_over(studio.draw_png(wish), "picture.png")

    def save(scene: str) -> dict[str, Any]:
        """Draw a scene (JSON) exactly and keep it in the gallery."""
        _require_own(studio)
        saved: dict[str, Any] = to_json(studio.save(owner, _read(Scene, scene)))
        return saved

    def gallery() -> list[dict[str, Any]]:
        """The saved pictures, newest first, each with its recipe."""
        _require_own(studio)
        return [to_json(item) for item in studio.gallery.list(owner)]

    def interpolate(model: str, timeline: str, format: str, fps: int, size_px: int) -> str:
        """A film of a walk. `timeline` (JSON) has keyframes of points, a path and a loop."""
        settings = FilmSettings(format=format, fps=int(fps), size_px=int(size_px))
        job = studio.exports.start(owner, model, _read(Timeline, timeline), settings)
        film = studio.exports.file(owner, _finished(studio, job))
        return _hand_over(film.read_bytes(), film.name)

    asked: tuple[Callable[..., Any], ...] = (models, save, gallery)
    drawn: tuple[Callable[..., Any], ...] = (generate, interpolate)
    for function in asked:
        expose(function, gr.JSON(visible=False))
    for function in drawn:
        expose(function, gr.File(visible=False))
    _add_training(studio)
    _add_importing(studio)


def _add_importing(studio: Studio) -> None:
    """Those that bring models, for scripts on this machine."""

    def import_model(
        source: str,
        title: str,
        licence: str,
        candidate: int | None,
        choice: str,
        revision: str,
        files: list[str] | None,
    ) -> dict[str, Any]:
        """Bring a model onto the shelf: `source` is a path on this machine or `owner/name` on the Hub; or send `files`.

        Answers what it is. It is kept, and "model" names it, once a `licence` is given ("unknown" if you do not know)
        and, where there are several readings, a `candidate`."""
        studio.policy.require("import")
        import_id = _sent(studio, files) if files else ""
        look = studio.imports.look_now(source or "", import_id=import_id, choice=choice or "", revision=revision or "")
        several = len(look.candidates) > 1
        if not licence or (candidate is None and several):
            studio.imports.forget(look.id)
            return {"model": "", **to_json(look)}
        about = replace(look.about, title=title or look.about.title, licence=licence)
        return {"model": studio.imports.keep_now(look.id, about, int(candidate or 0)), **to_json(look)}

    expose(
        import_model,
        gr.JSON(visible=False),
        files=gr.File(visible=False, file_count="multiple", type="filepath"),
        candidate=gr.Number(visible=False, label="candidate", precision=0, value=None),
    )


def _sent(studio: Studio, files: list[str]) -> str:
    import_id = studio.imports.begin()
    for path in files:
        with open(path, "rb") as file, studio.imports.receive(import_id, Path(path).name) as write:
            while piece := file.read(1 << 20):
                write(piece)
    return import_id


def _add_training(studio: Studio) -> None:
    """Those of the train room."""

    def upload(files: list[str], names: list[str] | None) -> dict[str, Any]:
        """Take pictures or a zip and look through them: the report, with the id of the upload and suggested settings.

        `names`, if given, are the paths that the files had in their folder, so that sub-folders become classes."""
        studio.policy.require("upload")
        upload_id = studio.datasets.begin()
        for path, name in zip(files, names or [Path(file).name for file in files], strict=True):
            with open(path, "rb") as file:
                studio.datasets.add(upload_id, name, file)
        return studio.datasets.scan(upload_id)

    def prepare(upload_id: str, settings: dict[str, Any], title: str) -> dict[str, Any]:
        """Make a dataset of an upload; `settings` may leave out what is as suggested."""
        studio.policy.require("upload")
        chosen = from_json(PrepareSettings, settings or {})
        prepared: dict[str, Any] = to_json(studio.datasets.prepare(upload_id, chosen, title or ""))
        return prepared

    def start_run(dataset: str, minutes: float, base: str, title: str, changes: dict[str, Any]) -> str:
        """Begin to train on a prepared dataset; the id of the run."""
        studio.policy.require("train")
        order = Order(
            pictures=dataset, minutes=float(minutes), base=base or "", title=title or "", changes=changes or {}
        )
        return _finished(studio, studio.desk.start(order))

    def runs() -> list[dict[str, Any]]:
        """All runs and how far each is."""
        studio.policy.require("train")
        return [to_json(summary) for summary in studio.runs.summaries()]

    def control_run(run: str, action: str) -> dict[str, Any]:
        """Pause, resume, stop or delete a run."""
        studio.policy.require("train")
        actions = {"pause": studio.runs.pause, "resume": studio.runs.resume, "stop": studio.runs.stop}
        if action not in actions:
            raise BadInput(f"A run cannot {action!r}.", f"Choose one of {', '.join(actions)}.")
        actions[action](run)
        summary: dict[str, Any] = to_json(studio.runs.summary(run))
        return summary

    def growth_film(run: str, seconds: float, size_px: int, seeds: list[int] | None) -> str:
        """A film of how a run learned: its sheet of fixed seeds growing, or only some of the seeds. An MP4 file."""
        studio.policy.require("train")
        settings = GrowthSettings(
            seconds=float(seconds or 12), size_px=int(size_px or 1080), seeds=tuple(int(seed) for seed in seeds or ())
        )
        owner = _API_OWNER if studio.policy.public else LOCAL_OWNER
        film = studio.exports.file(owner, _finished(studio, studio.stages.start_film(owner, run, settings)))
        return _hand_over(film.read_bytes(), film.name)

    expose(growth_film, gr.File(visible=False))
    expose(upload, gr.JSON(visible=False), files=gr.File(visible=False, file_count="multiple", type="filepath"))
    expose(start_run, gr.Textbox(visible=False))
    worked: tuple[Callable[..., Any], ...] = (prepare, runs, control_run)
    for function in worked:
        expose(function, gr.JSON(visible=False))


def expose(function: Callable[..., Any], output: Any, **inputs: Any) -> None:
    """Make a function an endpoint under its own name; its annotations choose the inputs that are not given."""
    kinds = {name: kind for name, kind in get_type_hints(function).items() if name != "return"}
    components = [
        inputs.get(name) or _INPUTS.get(kind, gr.JSON)(visible=False, label=name) for name, kind in kinds.items()
    ]
    gr.Button(visible=False).click(
        _calm(function), components, output, api_name=function.__name__, show_progress="hidden"
    )


def _calm(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function with errors that people can read."""

    @functools.wraps(function)
    def calm(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except StudioError as error:
            raise gr.Error(str(error), print_exception=False) from None
        except Exception as error:
            raise gr.Error(bug(function.__name__, error)["error"], print_exception=False) from None

    return calm


def _scene(model: str, seed: int, truncation: float, label: int | None) -> Scene:
    point = {"seeds": [{"seed": seed}], "truncation": truncation, "label": label}
    return from_json(Scene, {"model": model, "point": point})


def _read(kind: type[T], text: str) -> T:
    """A dataclass from JSON text. Raises BadInput."""
    try:
        return from_json(kind, json.loads(text))
    except (ValueError, TypeError, RecursionError):
        raise BadInput(
            f"This is not the JSON of a {kind.__name__.lower()}.", "Look at one that the studio made."
        ) from None


def _require_own(studio: Studio) -> None:
    """Scripts have no browser that keeps a secret, so on a public host they have no gallery of their own."""
    if studio.policy.public:
        raise Forbidden("On a public studio the gallery is reached from the page only.", "Use /generate instead.")


def _hand_over(data: bytes, name: str) -> str:
    """A file in Gradio's own folder, the only one that it serves from; it is swept there after a day."""
    folder = Path(get_upload_folder()) / secrets.token_hex(20)
    folder.mkdir(parents=True)
    (folder / name).write_bytes(data)
    return str(folder / name)


def _finished(studio: Studio, job: str) -> str:
    """Wait for a job; its result, or its sentence as an error."""
    end = time.monotonic() + _WAIT_SECONDS
    while (status := studio.jobs.status(job))["state"] == "running" and time.monotonic() < end:
        time.sleep(0.1)
    if status["state"] != "done":
        raise StudioError(status["error"] or "It was cancelled.", status["hint"])
    return str(status["result"])
