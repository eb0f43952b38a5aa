"""Loaded generators and fast synthesis.

One thread per device computes pictures: it is the gate, so nothing needs a lock around a network, and the thread pool of
the maths library stays warm. Whoever has many pictures to make (a film, thumbnails) submits them one at a time; a wish
from the page then waits for one picture at most. torch is imported in that thread, after the page stands.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from studio.errors import BadInput, Busy, StudioError
from studio.latent.cross import Cross, related
from studio.latent.point import Point, Scene
from studio.options import to_json
from studio.weights.card import DIRECTIONS_FILE, INHERITED_FILE, TRAITS_FILE, WEIGHTS_FILE, read_card

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from studio.families.base import Generator, Noise, Staged
    from studio.latent.directions import Direction
    from studio.synthesis.synthesizer import Synthesizer
    from studio.weights.card import ModelCard

T = TypeVar("T")
log = logging.getLogger(__name__)

_MEMORY_BYTES = 2 << 30
SNAPSHOT_MARK = "@"
"""Between run and step in the id of a snapshot, which plays like a model of the shelf."""

_SHEET_BATCH = 8
_SHEET_SHARE = 0.02
"""Of the time may go to thumbnails while a hand is moving."""
_REST_SECONDS = 0.1
_FORMS = 3
"""About how many times a model's size its forms take: exact, prepared and compiled."""
_CROSSED = 3
"""How many crossed models stay beside the one that is drawn."""
_ONE_THREAD_PX = 64
"""Up to this size waking a second thread costs more than it brings."""


@dataclass
class Player:
    """One loaded model: the exact float32 network, its prepared form, what draws quickest, and what was found in its space."""

    card: ModelCard
    exact: Generator
    plain: Staged
    quick: Synthesizer
    size_bytes: int
    hastened: bool = False
    directions: dict[str, Direction] | None = None
    noise: tuple[int | None, Noise | None] | None = None

    def noise_of(self, point: Point) -> Noise | None:
        """The noise pictures of a point; the last ones are kept, as they cost more than a small picture."""
        from studio.latent.resolve import resolve_noise

        if self.noise is None or self.noise[0] != point.noise_seed:
            self.noise = (point.noise_seed, resolve_noise(point, self.exact))
        return self.noise[1]


class Engine:
    """Turns scenes into pictures.

    Args:
        find: the folder of a model id; raises NotFound.
        cache: where found directions are kept, by the model's sha256.
    """

    def __init__(self, find: Callable[[str], Path], cache: Path) -> None:
        self._find = find
        self._cache = cache
        self._gate = ThreadPoolExecutor(1, thread_name_prefix="synthesis")
        self._workshop = ThreadPoolExecutor(1, thread_name_prefix="preparing")
        self._players: OrderedDict[str, Player] = OrderedDict()
        self._stage = "Starting"
        self._ready = threading.Event()
        self._closed = threading.Event()
        self._wished = 0.0

    # ── the gate ──

    def submit(self, work: Callable[..., T], *args: Any) -> Future[T]:
        """Run `work` in the device's thread. Raises Busy once the studio is closing."""
        if self._closed.is_set():
            raise Busy("The studio is closing.", "Start it again.")
        return self._gate.submit(work, *args)

    def warm(self) -> None:
        """Import torch and draw nothing, in the background; `status` says how far it is."""
        self.submit(self._warm).add_done_callback(_log_failure)

    def _warm(self) -> None:
        self._stage = "Waking PyTorch"
        _keep_large_buffers()
        import torch

        import studio.latent.directions
        import studio.weights.store  # noqa: F401

        torch.set_grad_enabled(False)  # of this thread
        self._stage = "Ready"
        self._ready.set()

    def status(self) -> dict[str, Any]:
        """What the page shows while the studio wakes up."""
        return {"stage": self._stage, "ready": self._ready.is_set()}

    def close(self) -> None:
        """Drop what waits and let the thread end."""
        self._closed.set()
        self._workshop.shutdown(wait=False, cancel_futures=True)
        self._gate.shutdown(wait=False, cancel_futures=True)

    def sheet(self, model_id: str, points: Sequence[Point], size_px: int) -> bytes:
        """Small pictures of many points of one model, `size_px` wide, side by side in one PNG.

        For any thread but the gate's: few at a time pass through the gate, and slowly while a hand is moving."""
        from studio.media.sheets import grid
        from studio.media.stills import enlarge, to_png

        card = self.submit(self.card, model_id).result()
        step = _SHEET_BATCH if card.resolution <= _ONE_THREAD_PX else 1
        pictures: list[np.ndarray] = []
        for start in range(0, len(points), step):
            begun = time.monotonic()
            some = _result(self.submit(self.frames, model_id, points[start : start + step]))
            pictures += [enlarge(picture, size_px) for picture in some]
            if start + step < len(points):
                self.let_the_hand_pass((time.monotonic() - begun) / _SHEET_SHARE)
        return to_png(grid(pictures, columns=len(pictures), gap=0), None)

    def let_the_hand_pass(self, seconds: float) -> None:
        """Wait until no wish has come for a moment, but not longer than so many seconds."""
        end = time.monotonic() + seconds
        while time.monotonic() < min(end, self._wished + _REST_SECONDS):
            time.sleep(0.01)

    # ── pictures; each of these computes in the caller's thread, which must be the gate's ──

    def frame(self, scene: Scene, *, draft: bool = False) -> np.ndarray:
        """The quick picture of a scene, uint8 [h, w, c]: for play. A `draft` of a slow model has half the size."""
        self._wished = time.monotonic()
        return self._draw(scene.model, (scene.point,), exact=False, draft=draft)[0, ...]

    def still(self, scene: Scene) -> np.ndarray:
        """The exact picture of a scene, uint8 [h, w, c], float32 at batch 1: for keeping."""
        return self._draw(scene.model, (scene.point,), exact=True)[0, ...]

    def frames(self, model_id: str, points: Sequence[Point]) -> np.ndarray:
        """Quick pictures of many points of one model in one batch, uint8 [n, h, w, c]."""
        return self._draw(model_id, points, exact=False)

    def _draw(self, model_id: str, points: Sequence[Point], *, exact: bool, draft: bool = False) -> np.ndarray:
        import torch

        from studio.latent.resolve import resolve_many
        from studio.ops.images import to_uint8
        from studio.synthesis.synthesizer import EAGER

        player = self.player(model_id)
        pixels_here = exact or player.quick.backend == EAGER  # a compiled form brings threads of its own
        torch.set_num_threads(os.cpu_count() or 1 if pixels_here and player.exact.resolution > _ONE_THREAD_PX else 1)
        directions = self._directions_of(model_id, points)
        with torch.inference_mode():
            styles = resolve_many(points, player.exact, directions)
            noise = player.noise_of(points[0])
            if exact:
                return to_uint8(player.exact.synthesize(styles, noise)).numpy()
            pictures = to_uint8(player.quick.draw(styles, noise, draft=draft)).numpy()
        if not player.hastened:
            player.hastened = True
            self._workshop.submit(self._hasten, model_id, player).add_done_callback(_log_failure)
        return pictures

    def _directions_of(self, model_id: str, points: Sequence[Point]) -> dict[str, Direction]:
        """The directions that points go along, if any. Those that a recipe names are looked for now, if need be."""
        named = frozenset[str]().union(*(point.directions for point in points))
        known = self.directions(model_id) if named else {}
        return known if named <= known.keys() else self.directions(model_id, at_once=True)

    # ── models ──

    def player(self, model_id: str) -> Player:
        """The loaded model, loading it first if need be. The least recently used ones make room."""
        if model_id not in self._players:
            self._players[model_id] = self._load(model_id)
            self._make_room()
        self._players.move_to_end(model_id)
        return self._players[model_id]

    def card(self, model_id: str) -> ModelCard:
        """The card of a model, loading it if need be."""
        return self.player(model_id).card

    def describe(self, model_id: str) -> dict[str, Any]:
        """What can be done with a model: its card, how many styles, whether it takes noise or moves its pictures."""
        player = self.player(model_id)
        return {
            "id": model_id,
            "card": to_json(player.card),
            "num_styles": player.exact.num_styles,
            "has_noise": bool(player.exact.noise_sizes),
            "movable": getattr(player.exact, "movable", False),
        }

    def _load(self, model_id: str) -> Player:
        import torch

        from studio.ops.precision import quick_dtype
        from studio.synthesis.backend import prepared
        from studio.synthesis.synthesizer import Synthesizer
        from studio.weights.store import load_generator

        cross = Cross.read(model_id)
        with torch.inference_mode():
            network, card = self._crossed(cross) if cross else load_generator(self._find(model_id))
            exact = cast("Generator", network)
            plain = prepared(exact, quick_dtype())
        size = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
        return Player(
            card=card,
            exact=exact,
            plain=plain,
            quick=Synthesizer(exact, plain, self._workshop.submit),
            size_bytes=_FORMS * size,
        )

    def _crossed(self, cross: Cross) -> tuple[nn.Module, ModelCard]:
        """The generator between two models. Of others, that a hand passed by on its way here, only the last few stay: some
        of them may be another visitor's."""
        from studio.latent.crossing import crossed, crossed_card

        first, second = self.player(cross.first), self.player(cross.second)
        if not related(first.card, second.card):
            raise BadInput(
                f"{first.card.title} and {second.card.title} cannot be crossed.",
                "Choose two of the same architecture and origin, such as a model and the one it was trained from.",
            )
        for passed in [model_id for model_id in self._players if Cross.read(model_id)][:-_CROSSED]:
            del self._players[passed]
        network = crossed(cast("nn.Module", first.exact), cast("nn.Module", second.exact), cross)
        return network, crossed_card(first.card, second.card, cross)

    def _hasten(self, model_id: str, player: Player) -> None:
        """Make a player's fast form, in the workshop's thread; not for models that were only passed by."""
        from studio.synthesis.backends import Measurements, fastest
        from studio.synthesis.synthesizer import EAGER

        if next(reversed(self._players), None) != model_id:
            player.hastened = False
            return
        measurements = Measurements(self._cache / "measurements.json")
        known = measurements.of(player.card.sha256)
        kept = (self._cache / "prepared", player.card.sha256[:32]) if is_lasting(model_id) else None
        backend = fastest(player.exact, player.plain, kept=kept)
        if backend is None:
            return
        player.quick.use(backend)
        if not known and not self._closed.is_set():
            seconds = self.submit(self._measure, player).result()
            if min(seconds, key=lambda name: seconds[name]) != EAGER:  # a busy moment shall not decide for good
                measurements.remember(player.card.sha256, seconds)

    def settle(self) -> None:
        """Wait until every fast form that was begun is ready: for measuring."""
        self._workshop.submit(lambda: None).result()

    def _measure(self, player: Player) -> dict[str, float]:
        import torch

        with torch.inference_mode():
            return player.quick.measure()

    def _make_room(self) -> None:
        while len(self._players) > 1 and sum(p.size_bytes for p in self._players.values()) > _MEMORY_BYTES:
            self._players.popitem(last=False)

    def forget(self, model_id: str) -> None:
        """Drop a model whose folder changed or went."""
        self.submit(self._players.pop, model_id, None)

    def directions(self, model_id: str, *, at_once: bool = False) -> dict[str, Direction]:
        """The directions of a model by name: those that it was taught, those with names once they are found, those of
        its weights, and what it inherited.

        Args:
            at_once: those that only its pictures tell of are looked for now, and not left to `studio.services.naming`.
        """
        from studio.latent import directions

        if cross := Cross.read(model_id):
            return self.directions(cross.first, at_once=at_once)
        player = self.player(model_id)
        if at_once or player.directions is None:
            taught = directions.codes(player.exact, player.card.codes)
            named = directions.kept_directions(self.traits_file(model_id)) or {}
            file = self.directions_file(model_id)
            quick = at_once or bool(player.exact.style_matrices())
            found = directions.find_or_load(player.exact, file) if quick else directions.kept_directions(file) or {}
            inherited = directions.kept_directions(self._find(model_id) / INHERITED_FILE) or {}
            player.directions = taught | named | found | inherited
        return player.directions

    def traits_file(self, model_id: str) -> Path:
        """Where the named directions of a model are kept; see `studio.services.naming`."""
        return self._kept(model_id, TRAITS_FILE)

    def directions_file(self, model_id: str) -> Path:
        """Where the other directions are kept that were found in a model."""
        return self._kept(model_id, DIRECTIONS_FILE)

    def _kept(self, model_id: str, name: str) -> Path:
        """A file beside a shipped model, else one of the cache."""
        folder = self._find(model_id)
        card, what = read_card(folder), Path(name)
        cached = self._cache / f"{what.stem}-{card.files.get(WEIGHTS_FILE, card.id)[:32]}{what.suffix}"
        return folder / name if (folder / name).is_file() else cached

    def forget_directions(self, model_id: str) -> None:
        """Read a model's directions again when they are next asked for: there are more."""
        if model_id in self._players:
            self._players[model_id].directions = None


def _keep_large_buffers() -> None:
    """Let glibc keep large blocks instead of giving them back after every picture and faulting them in again.

    The numbers are M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_THRESHOLD of mallopt(3)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for parameter, size_bytes in ((-1, 1 << 30), (-2, 64 << 20), (-3, 32 << 20)):
            mallopt(parameter, size_bytes)


def _result(future: Future[T]) -> T:
    """What came of it. Raises Busy if the studio closed meanwhile."""
    try:
        return future.result()
    except CancelledError:
        raise Busy("The studio is closing.", "Start it again.") from None


def is_lasting(model_id: str) -> bool:
    """Whether it is a model of the shelf, and not a snapshot of a run that learns on, or crossed for a moment."""
    return SNAPSHOT_MARK not in model_id and Cross.read(model_id) is None


def _log_failure(future: Future[Any]) -> None:
    error = None if future.cancelled() else future.exception()
    if error is not None and not isinstance(error, StudioError | CancelledError):
        log.error("The synthesis thread failed", exc_info=error)
