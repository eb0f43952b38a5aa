"""The command line. Nothing heavy is imported before a command needs it, so every `--help` answers at once."""

from __future__ import annotations

import argparse
import faulthandler
import itertools
import json
import os
import re
import signal
import sys
import threading
import time
import webbrowser
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio import __version__
from studio.errors import BadInput, Busy, StudioError
from studio.families.base import FIRST_CHOICE, FROM_NOTHING
from studio.paths import Home, default_home
from studio.words import counted

if TYPE_CHECKING:
    from studio.services.imports import About, Look
    from studio.services.jobs import JobStatus
    from studio.services.studio import Studio
    from studio.services.training_desk import Order

_DEFAULT_PORT = 7860
_MOST_SEEDS = 10_000
_LEAVE_SECONDS = 25.0
"""After so long the studio ends even if something hangs, and says where."""
_LOG_SECONDS = 30.0
"""How often progress is a new line where the output is no terminal."""
_MINUTES = {"5min": 5.0, "half-hour": 30.0, "evening": 180.0, "night": 480.0}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?) ?(s|sec|seconds?|m|min|minutes?|h|hours?)")
_IN_MINUTES = {"s": 1 / 60, "m": 1.0, "h": 60.0}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status. Without a command it is `serve`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or (given[0].startswith("-") and given[0] not in {"-h", "--help", "--version"}):
        given.insert(0, "serve")
    try:
        namespace = _parser().parse_args(given)
        namespace.home = Home(namespace.home.expanduser().resolve()) if namespace.home else default_home()
        status: int = namespace.perform(namespace) or 0
        sys.stdout.flush()
        return status
    except StudioError as error:
        print(f"{error.message}\n{error.hint}".strip(), file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever read what was printed has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"{error.strerror or error}: {error.filename or ''}\nChoose another place, or free it.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m studio", description="Latent Studio: play and train generative adversarial networks."
    )
    parser.add_argument("--version", action="version", version=f"Latent Studio {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="command")
    for add in (
        _add_serve,
        _add_train,
        _add_resume,
        _add_generate,
        _add_interpolate,
        _add_film,
        _add_models,
        _add_import,
        _add_dataset,
    ):
        add(commands)
    return parser


def _command(commands: Any, name: str, perform: Callable[[argparse.Namespace], int | None], help: str) -> Any:
    parser = commands.add_parser(name, help=help, description=help)
    parser.set_defaults(perform=perform)
    parser.add_argument(
        "--home", type=Path, metavar="FOLDER", help="the studio's folder [STUDIO_HOME or ~/LatentStudio]"
    )
    return parser


# ── serve ──


def _add_serve(commands: Any) -> None:
    parser = _command(commands, "serve", _serve, "Open the studio in the browser.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on [127.0.0.1: this machine only]")
    parser.add_argument("--port", type=int, help=f"port to listen on [the first free one from {_DEFAULT_PORT}]")
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser")
    parser.add_argument("--auth", metavar="NAME:PASSWORD", help="ask visitors for a name and a password")
    parser.add_argument(
        "--public", action="store_true", help="strangers may visit: they play and save, but do not train"
    )


def _serve(namespace: argparse.Namespace) -> int:
    from studio.ui.door import Door, first_free

    auth = _auth(namespace)
    if namespace.port is not None and not 1 <= namespace.port <= 65_535:
        raise BadInput(f"There is no port {namespace.port}.", "Choose 1 to 65535, such as 7860.")
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin while they wait starve browser and trainer
    os.environ.setdefault("GRADIO_TEMP_DIR", str(namespace.home.cache / "gradio"))
    try:
        door = Door(namespace.host, namespace.port) if namespace.port else first_free(namespace.host, _DEFAULT_PORT)
    except OSError as error:
        raise Busy(
            f"Port {namespace.port or _DEFAULT_PORT} cannot be used: {error.strerror or error}.",
            "Another studio may be running; stop it, or choose another with --port 7900.",
        ) from error
    _leave_for_an_empty_folder(namespace.home)
    shown = "localhost" if namespace.host in {"127.0.0.1", "0.0.0.0"} else namespace.host
    print(f"Latent Studio: http://{shown}:{door.port}", flush=True)
    if not namespace.no_browser:
        threading.Thread(target=webbrowser.open, args=(f"http://{shown}:{door.port}",), daemon=True).start()
    return _serve_page(namespace, door, auth)


def _leave_for_an_empty_folder(home: Home) -> None:
    """Gradio would serve files of the working directory that an endpoint names; so there shall be none."""
    empty = home.create().cache / "empty"
    empty.mkdir(exist_ok=True)
    os.chdir(empty)


def _auth(namespace: argparse.Namespace) -> tuple[str, str] | None:
    if namespace.auth:
        name, colon, password = namespace.auth.partition(":")
        if not (name and colon and password):
            raise BadInput("--auth needs a name and a password.", "Write them as name:password.")
        return name, password
    local = namespace.host in {"127.0.0.1", "localhost", "::1"}
    if not (local or namespace.public or os.environ.get("SPACE_ID")):
        raise BadInput(
            f"Listening on {namespace.host} would let everyone on the network use this studio and its files.",
            "Add --auth name:password, or --public to let strangers play only.",
        )
    return None


def _serve_page(namespace: argparse.Namespace, door: Any, auth: tuple[str, str] | None) -> int:
    stop = threading.Event()

    def leave(*_: object) -> None:
        faulthandler.dump_traceback_later(_LEAVE_SECONDS, exit=True)  # trainers live on by themselves
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    door.stage = "Opening the page…"
    from studio.ui import page

    studio = _studio(namespace, public=namespace.public)
    blocks = page.build(studio)
    door.close()
    page.open_page(
        blocks,
        studio,
        server_name=namespace.host,
        server_port=door.port,
        auth=auth,
        prevent_thread_lock=True,
        quiet=True,
    )
    studio.start()
    stop.wait()
    training = any(run.state in {"starting", "training"} for run in studio.runs.summaries())
    print("\nSaving what trains; it goes on at the next start." if training else "", flush=True)
    studio.close()
    blocks.close()
    sys.stdout.flush()
    os._exit(0)  # all is saved; threads that still compile a model would hold the end up for seconds


def _studio(namespace: argparse.Namespace, *, public: bool = False) -> Studio:
    import dataclasses

    from studio.services.policy import Policy
    from studio.services.studio import Studio

    policy = Policy.from_environment()
    return Studio(namespace.home, dataclasses.replace(policy, public=policy.public or public))


# ── train, resume ──


def _add_train(commands: Any) -> None:
    parser = _command(
        commands, "train", _train, "Train a model on a folder or a zip of pictures, here in the terminal."
    )
    parser.add_argument(
        "pictures", nargs="?", type=Path, help="folder or zip of pictures, or a dataset prepared before"
    )
    parser.add_argument("--title", default="", help="what the model is called [the folder's name]")
    parser.add_argument(
        "--time",
        type=_time,
        default="half-hour",
        metavar="TIME",
        help=f"how long it may take: {', '.join(_MINUTES)}, or any such as 90s, 12min, 1.5h [half-hour]",
    )
    parser.add_argument(
        "--family",
        choices=FROM_NOTHING,
        default="",
        help="the architecture [the studio's choice]",
    )
    parser.add_argument(
        "--from",
        dest="base",
        default="auto",
        metavar="MODEL",
        help="the shelf model to start from, or scratch [the studio's choice]",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change one setting of the plan, such as r1_gamma=2",
    )
    parser.add_argument(
        "--network",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change one setting of the network, such as width=24",
    )
    parser.add_argument(
        "--prepare",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="how pictures are prepared, such as resolution=64",
    )
    _add_mend(parser)
    parser.add_argument("--options", action="store_true", help="list every setting with its meaning, and end")


def _time(text: str) -> float:
    """Minutes, from a name of the dial or a number with its unit."""
    amount = _AMOUNT.fullmatch(text.strip().lower())
    if text not in _MINUTES and amount is None:
        raise BadInput(f"{text[:40]!r} is no length of time.", f"Write 90s, 12min or 1.5h, or {', '.join(_MINUTES)}.")
    return _MINUTES[text] if amount is None else float(amount[1]) * _IN_MINUTES[amount[2][:1]]


def _train(namespace: argparse.Namespace) -> int:
    from studio.data.prepare import PrepareSettings
    from studio.training.config import TrainConfig

    if namespace.options:
        _print_options("--prepare", PrepareSettings)
        _print_options("--set", TrainConfig)
        return 0
    if namespace.pictures is None:
        raise BadInput("Training needs pictures.", "Name a folder, a zip or a dataset prepared before.")
    if _assists():
        return _assist()
    from studio.services.training_desk import CHOICE, Order

    studio = _trainers_studio(namespace)
    words = {"auto": "" if namespace.network else CHOICE, "scratch": ""}
    namespace.base = words[namespace.base] if namespace.base in words else _model_id(studio, namespace.base)
    changes = _pairs(namespace.set, TrainConfig)
    if namespace.network:
        from studio.families.base import family

        card = studio.shelf.entry(namespace.base).card if namespace.base else None
        kind = card.family if card else namespace.family or FIRST_CHOICE
        changes["settings"] = _pairs(namespace.network, family(kind).settings)
    prepare = {**studio.desk.needs_of(namespace.base), **_pairs(namespace.prepare, PrepareSettings)}
    order = Order(
        pictures=_dataset_id(studio, namespace, prepare),
        minutes=changes.get("minutes", namespace.time),
        base=namespace.base,
        family=namespace.family,
        title=namespace.title,
        changes=changes,
    )
    plan = studio.desk.plan(order)
    for reason in plan.reasons:
        print(reason)
    order = _shared(order, plan.config.batch)
    run_id = studio.jobs.wait(studio.desk.start(order))["result"]
    print(f"Run {run_id}")
    return _follow(studio, run_id)


def _dataset_id(studio: Studio, namespace: argparse.Namespace, prepare: dict[str, Any]) -> str:
    """The dataset named on the command line: one prepared before, or the pictures made into one."""
    if (studio.home.datasets / namespace.pictures.name).is_dir() and len(namespace.pictures.parts) == 1:
        if namespace.mend:
            raise BadInput("These pictures are prepared already.", "To mend them, name the folder that they came from.")
        return str(namespace.pictures)
    return studio.datasets.prepare_here(namespace.pictures, prepare, namespace.title, namespace.mend, tell=print).id


def _pairs(texts: Sequence[str], kind: type) -> dict[str, Any]:
    from studio.options import options

    known = {described.name: described for described in options(kind)}
    values = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in known:
            raise BadInput(f"There is no setting {name!r}.", "`python -m studio train --options` lists them all.")
        values[name] = known[name].parse(value)
    return values


def _print_options(flag: str, kind: type) -> None:
    from studio.options import options

    for described in options(kind):
        if described.heading:
            print(f"\n{described.heading}\n")
        print(f"{flag} {described.name}={described.default}\n    {described.help}")


def _add_resume(commands: Any) -> None:
    parser = _command(commands, "resume", _resume, "Go on with a run that was paused, stopped or interrupted.")
    parser.add_argument("run", nargs="?", help="its name, as in the runs folder [the newest]")
    parser.add_argument("--minutes", type=float, default=0, help="more time for a finished run")


def _resume(namespace: argparse.Namespace) -> int:
    if _assists():
        return _assist()
    studio = _trainers_studio(namespace)
    run_id = namespace.run or studio.runs.newest()
    at_work = studio.runs.summary(run_id).state == "training"
    print(f"Run {run_id}" + " is training already; this follows it." * at_work)
    if namespace.minutes:
        studio.runs.continue_run(run_id, namespace.minutes)
    else:
        studio.runs.resume(run_id)
    return _follow(studio, run_id)


def _follow(studio: Studio, run_id: str) -> int:
    """Print a run's progress until it ends; Ctrl-C saves and pauses it."""
    if _together():
        return _lead(studio, run_id)
    studio.runs.recover()
    told = ("", 0.0)
    try:
        while True:
            summary = studio.runs.summary(run_id)
            line = (f"{summary.state:<11}{summary.fraction:6.1%} {summary.kimg:8.1f} kimg"
                    f" {summary.images_per_second:7.1f} images/s   {summary.message[:60]:<60}")  # fmt: skip
            if sys.stdout.isatty():
                print("\r" + line, end="", flush=True)
            elif summary.state != told[0] or time.monotonic() > told[1] + _LOG_SECONDS:
                told = (summary.state, time.monotonic())
                print(line.rstrip(), flush=True)
            if summary.state in {"finished", "failed", "paused"}:
                if sys.stdout.isatty():
                    print()
                return 0 if summary.state != "failed" else 1
            time.sleep(0.5)
    except KeyboardInterrupt:
        print("\nSaving. `python -m studio resume` goes on from here.", flush=True)
        studio.runs.pause(run_id)
        return 130
    finally:
        studio.close()


# ── torchrun: all processes that it started train one run, and the first of them also does what comes before ──


def _together() -> bool:
    from studio.training.process import processes

    return processes() > 1


def _assists() -> bool:
    return _together() and os.environ["RANK"] != "0"


def _assist() -> int:
    """Wait for the first process, however long it prepares, and train with it."""
    from studio.training.__main__ import train_together

    return train_together()


def _trainers_studio(namespace: argparse.Namespace) -> Studio:
    studio = _studio(namespace)
    if _together():
        studio.runs.close()  # so that it starts no trainer: we are the trainers
    return studio


def _shared(order: Order, batch: int) -> Order:
    """The order with a batch that all processes share evenly, unless the artist named one."""
    from studio.training.process import processes

    rest = batch % processes()
    if not rest or "batch" in order.changes:
        return order
    even = batch - rest + processes()
    print(f"{even} pictures at once instead of {batch}, so that {processes()} processes share them evenly.")
    return replace(order, changes={**order.changes, "batch": even})


def _lead(studio: Studio, run_id: str) -> int:
    """Train here and now, and print how far it is."""
    from studio.training.__main__ import train_together
    from studio.training.events import Progress, RunEvent
    from studio.training.folder import RunFolder

    def tell(event: RunEvent) -> None:
        if isinstance(event, Progress):
            print(f"{event.fraction:6.1%} {event.kimg:8.1f} kimg {event.images_per_second:7.1f} images/s", flush=True)
        elif words := getattr(event, "message", ""):
            print(words, flush=True)

    status = train_together(RunFolder(studio.home.runs / run_id), tell=tell)
    studio.close()
    return status


# ── generate, interpolate ──


def _add_generate(commands: Any) -> None:
    parser = _command(commands, "generate", _generate, "Make pictures with a model and save them as PNG.")
    parser.add_argument("model", nargs="?", default="", help="the model's name on the shelf")
    parser.add_argument("--seeds", default="0-15", help="seeds, such as 0-15 or 3,5,8 [0-15]")
    parser.add_argument("--truncation", type=float, default=1.0, help="lower is more typical [1]")
    parser.add_argument(
        "--label", type=int, default=-1, help="class, where the model has classes [-1: each seed its own]"
    )
    parser.add_argument("--scene", type=Path, help="a PNG saved by the studio, or a JSON scene, to make again")
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the pictures [pictures]")


def _generate(namespace: argparse.Namespace) -> int:
    from studio.latent.point import Point, Scene, Seed

    if not namespace.model and not namespace.scene:
        raise BadInput("Which model shall make them?", "Name one; `python -m studio models` lists them.")
    if namespace.scene:
        scenes = {namespace.scene.stem: _read_scene(namespace.scene)}
    else:
        scenes = {
            f"{namespace.model.replace('/', '_')}-{seed}": Scene(
                model=namespace.model,
                point=Point(seeds=(Seed(seed=seed),), truncation=namespace.truncation, label=namespace.label),
            )
            for seed in _seed_list(namespace.seeds)
        }
    studio = _studio(namespace)
    scenes = {name: replace(scene, model=_model_id(studio, scene.model)) for name, scene in scenes.items()}
    namespace.out.mkdir(parents=True, exist_ok=True)
    for name, scene in scenes.items():
        path = namespace.out / f"{name}.png"
        path.write_bytes(studio.draw_png(scene))
        print(path)
    studio.close()
    return 0


def _model_id(studio: Studio, name: str) -> str:
    """The id of a model that is named by its id, or by a title that no other one has. Raises NotFound."""
    from studio.services.engine import is_lasting

    entries = studio.shelf.list()
    titled = [entry.id for entry in entries if entry.title.casefold() == name.strip().casefold()]
    if name not in {entry.id for entry in entries} and len(titled) == 1:
        return titled[0]
    if is_lasting(name):
        studio.shelf.folder(name)
    return name


def _seed_list(text: str) -> list[int]:
    """ "0-3,7" -> [0, 1, 2, 3, 7]."""
    try:
        pairs = [
            (int(first), int(last or first)) for first, _, last in (part.partition("-") for part in text.split(","))
        ]
    except ValueError:
        raise BadInput(f"{text!r} is not a list of seeds.", "Write it as 0-15 or 3,5,8.") from None
    count = sum(max(0, last - first + 1) for first, last in pairs)
    if not 0 < count <= _MOST_SEEDS:
        raise BadInput(f"{count:,} seeds were asked for.", f"Ask for 1 to {_MOST_SEEDS:,}.")
    return [seed for first, last in pairs for seed in range(first, last + 1)]


def _read_scene(path: Path) -> Any:
    from studio.latent.point import Scene
    from studio.media.stills import read_recipe
    from studio.options import from_json

    if not path.is_file():
        raise BadInput(f"There is no file {path}.", "Name a PNG saved by the studio, or a JSON scene.")
    data = path.read_bytes()
    try:
        recipe = {"scene": json.loads(data)} if path.suffix == ".json" else read_recipe(data)
    except ValueError:
        raise BadInput(f"{path.name} is not JSON.", "Name a PNG saved by the studio, or a JSON scene.") from None
    if not recipe or "scene" not in recipe:
        raise BadInput(f"{path.name} carries no recipe.", "Name a PNG saved by the studio.")
    return from_json(Scene, recipe["scene"])


def _add_interpolate(commands: Any) -> None:
    parser = _command(commands, "interpolate", _interpolate, "Make a film of a walk between seeds.")
    parser.add_argument("model", help="the model's name on the shelf")
    parser.add_argument("--seeds", default="0-5", help="the places to pass [0-5]")
    parser.add_argument("--seconds", type=float, default=2.0, help="from one to the next [2]")
    parser.add_argument(
        "--path", choices=("slerp", "lerp", "spline"), default="slerp", help="the way between them [slerp]"
    )
    parser.add_argument("--easing", default="smooth", help="linear, smooth, ease-in, ease-out or hold [smooth]")
    parser.add_argument("--truncation", type=float, default=1.0, help="lower is more typical [1]")
    parser.add_argument("--once", action="store_true", help="do not lead back to the start")
    parser.add_argument("--fps", type=int, default=30, help="pictures a second [30]")
    parser.add_argument("--size", type=int, default=512, help="width and height in pixels [512]")
    parser.add_argument("--out", type=Path, default=Path("walk.mp4"), help="the film: .mp4 or .webp [walk.mp4]")


def _interpolate(namespace: argparse.Namespace) -> int:
    from studio.latent.point import OWN_CLASS, Point, Seed
    from studio.latent.timeline import Keyframe, Timeline
    from studio.services.exports import FilmSettings

    seeds = _seed_list(namespace.seeds)
    if len(seeds) < 2:
        raise BadInput("A walk leads from one seed to another.", "Name two or more, such as --seeds 1,5.")
    keyframes = tuple(
        Keyframe(
            point=Point(seeds=(Seed(seed=seed),), truncation=namespace.truncation, label=OWN_CLASS),
            seconds=namespace.seconds,
            easing=namespace.easing,
        )
        for seed in seeds
    )
    timeline = Timeline(keyframes=keyframes, loop=not namespace.once, path=namespace.path)
    settings = FilmSettings(format=namespace.out.suffix.lstrip(".") or "mp4", fps=namespace.fps, size_px=namespace.size)
    namespace.out.parent.mkdir(parents=True, exist_ok=True)
    studio = _studio(namespace)
    studio.exports.write(
        _model_id(studio, namespace.model), timeline, settings, namespace.out.resolve(), report=_show_count
    )
    print(namespace.out)
    studio.close()
    return 0


def _add_film(commands: Any) -> None:
    parser = _command(commands, "film", _film, "Make a film of how a run learned.")
    parser.add_argument("run", nargs="?", default="", help="its name, as in the runs folder [the newest]")
    parser.add_argument("--seconds", type=float, default=12.0, help="length of the film, 5 to 30 [12]")
    parser.add_argument("--seeds", default="", help="only some pictures of its sheet, such as 0-3 [all]")
    parser.add_argument("--fps", type=int, default=30, help="pictures a second [30]")
    parser.add_argument("--size", type=int, default=1080, help="longer side in pixels [1080]")
    parser.add_argument("--out", type=Path, default=Path("film.mp4"), help="the film [film.mp4]")


def _film(namespace: argparse.Namespace) -> int:
    from studio.services.stages import GrowthSettings

    if namespace.out.suffix.lower() != ".mp4":
        raise BadInput(f"{namespace.out.name} is not the name of an MP4 film.", "Write it as film.mp4.")
    seeds = tuple(_seed_list(namespace.seeds)) if namespace.seeds else ()
    settings = GrowthSettings(seconds=namespace.seconds, fps=namespace.fps, size_px=namespace.size, seeds=seeds)
    namespace.out.parent.mkdir(parents=True, exist_ok=True)
    studio = _studio(namespace)
    run_id = namespace.run or studio.runs.newest()
    studio.stages.write_film(run_id, settings, namespace.out.resolve(), report=_show_count)
    print(namespace.out)
    studio.close()
    return 0


def _show_count(done: int, total: int) -> None:
    if sys.stdout.isatty():
        print(f"\r{done} of {total}", end="" if done < total else "\n", flush=True)


# ── models, dataset ──


def _add_models(commands: Any) -> None:
    parser = _command(commands, "models", _models, "List the models on the shelf.")
    parser.add_argument("--json", action="store_true", help="as JSON")


def _models(namespace: argparse.Namespace) -> None:
    from studio.options import to_json
    from studio.paths import bundled
    from studio.weights.shelf import Shelf

    entries = Shelf(bundled("models"), namespace.home.models).list()
    if namespace.json:
        print(
            json.dumps(
                [{"id": entry.id, "problem": entry.problem, "card": to_json(entry.card)} for entry in entries], indent=2
            )
        )
        return
    for entry in entries:
        card = entry.card
        print(
            f"{entry.id:<32}{entry.problem or (card and f'{card.title}: {card.family} {card.resolution} px, {card.licence}')}"
        )


def _add_import(commands: Any) -> None:
    parser = _command(commands, "import", _import, "Bring a model that another program wrote onto the shelf.")
    parser.add_argument("source", help="a file, a folder, or owner/name on the Hugging Face Hub")
    parser.add_argument(
        "--choice", default="", metavar="FILE", help="which weights, where there are several [the best guess]"
    )
    parser.add_argument("--revision", default="", help="branch, tag or commit on the Hub [the newest]")
    parser.add_argument("--candidate", type=int, metavar="N", help="which reading, where there are several")
    parser.add_argument("--sheet", type=Path, default=Path("import.png"), help="pictures of every reading [import.png]")
    parser.add_argument("--look", action="store_true", help="only say what it is")
    parser.add_argument("--title", default="", help="what it is called [after its file]")
    parser.add_argument("--licence", default="", help="under which it came [as its README says, else unknown]")
    parser.add_argument("--author", default="", help="who made it")
    parser.add_argument("--trained-on", default="", help="which pictures it learned from")


def _import(namespace: argparse.Namespace) -> int:
    if not namespace.source.strip():
        raise BadInput("There is nothing to import.", "Give a path, or owner/name on the Hub.")
    studio = _studio(namespace)
    try:
        tell = _Stages()
        try:
            look = studio.imports.look_now(
                namespace.source, choice=namespace.choice, revision=namespace.revision, tell=tell
            )
        finally:
            tell.end()
        _print_look(look)
        if not 0 <= (namespace.candidate or 0) < len(look.candidates):
            studio.imports.forget(look.id)
            raise BadInput(f"There is no reading {namespace.candidate} of this model.", "Choose one of the list.")
        several = len(look.candidates) > 1
        if several or namespace.look:
            sheet = _free_path(namespace.sheet)
            sheet.write_bytes(studio.imports.contact_sheet(look.id))
            print(f"Pictures of {'every reading' if several else 'it'}: {sheet}")
        if namespace.look or (several and namespace.candidate is None):
            print("Nothing is kept yet." + " Choose a reading with --candidate N." * several)
            studio.imports.forget(look.id)
            return 0 if namespace.look else 1
        print(studio.imports.keep_now(look.id, _about(namespace, look), namespace.candidate or 0))
        return 0
    finally:
        studio.close()


def _free_path(path: Path) -> Path:
    """The path itself, or the first of name-2, name-3, … that nothing has."""
    names = (path if number == 1 else path.with_stem(f"{path.stem}-{number}") for number in itertools.count(1))
    return next(name for name in names if not name.exists())


class _Stages:
    """Says how far it is: in one line that changes on a terminal, else one line for every stage."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, status: JobStatus) -> None:
        share = f" {100 * status.done // status.total} %" if status.total else ""
        if sys.stderr.isatty():
            print(f"\r{status.message}{share:<8}", end="", file=sys.stderr, flush=True)
        elif status.message not in ("", self._last):
            print(status.message, file=sys.stderr, flush=True)
        self._last = status.message

    def end(self) -> None:
        """Leave the line that changes."""
        if self._last and sys.stderr.isatty():
            print(file=sys.stderr)


def _print_look(look: Look) -> None:
    classes = f", {counted(len(look.classes), 'class', 'classes')}" if look.classes else ""
    print(f"{look.format}\n{look.family_title}, {look.resolution} px{classes}, {look.file_name}")
    for warning in look.warnings:
        print(warning)
    for name in look.choices:
        print(f"  {'*' if name == look.choice else ' '} {name}")
    if len(look.candidates) > 1:
        for number, title in enumerate(look.candidates):
            print(f"  {number}  {title}")


def _about(namespace: argparse.Namespace, look: Look) -> About:
    import dataclasses

    from studio.services.imports import UNKNOWN_LICENCE

    given = {name: getattr(namespace, name) for name in ("title", "licence", "author", "trained_on")}
    about = dataclasses.replace(look.about, **{name: text for name, text in given.items() if text})
    return dataclasses.replace(about, licence=about.licence or UNKNOWN_LICENCE)


def _add_dataset(commands: Any) -> None:
    parser = _command(
        commands, "dataset", _dataset, "Look at a folder or a zip of pictures, and prepare it for training."
    )
    parser.add_argument("pictures", type=Path, help="folder or zip of pictures")
    parser.add_argument(
        "--prepare", action="append", default=[], metavar="NAME=VALUE", help="such as resolution=64 or fit=pad"
    )
    _add_mend(parser)
    parser.add_argument("--title", default="", help="what the dataset is called [the folder's name]")
    parser.add_argument("--look", action="store_true", help="only say what is there")


def _add_mend(parser: Any) -> None:
    parser.add_argument(
        "--mend",
        action="extend",
        nargs="+",
        default=[],
        metavar="FINDING",
        help="what the dataset doctor finds and you want mended, such as copies blank; or all [nothing]",
    )


def _dataset(namespace: argparse.Namespace) -> None:
    from studio.data.prepare import PrepareSettings

    studio = _studio(namespace)
    changes = _pairs(namespace.prepare, PrepareSettings)
    if namespace.look:
        _, settings, _ = studio.datasets.look(namespace.pictures, changes, namespace.mend, tell=print)
        print(f"Suggested: {settings.resolution} px, {settings.fit}, {settings.colour}")
    else:
        info = studio.datasets.prepare_here(namespace.pictures, changes, namespace.title, namespace.mend, tell=print)
        print(studio.datasets.folder(info.id))
    studio.close()
