"""One canvas per open page: the newest wish wins.

The page keeps a few wishes on their way. Each waits for its turn; one that finds a newer behind it when its turn comes is
dropped. A wish that cannot be drawn answers with a sentence and never harms the next.

A frame is 12 bytes of header (stamp u32, kind u8, draft u8, width u16, height u16, zero u16, little endian) and the picture:
small ones as raw RGBA, which costs nothing and loses nothing, larger ones as JPEG, or WebP where they are transparent.
"""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Any

from studio.errors import BadInput
from studio.latent.point import Scene
from studio.latent.timeline import Timeline
from studio.options import from_json
from studio.services.engine import Engine

if TYPE_CHECKING:
    import numpy as np

_RAW_PIXELS = 128 * 128
_RAW, _JPEG, _WEBP = 0, 1, 2


class Canvas:
    """The wishes of one page."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turn = asyncio.Lock()
        self._newest = -1
        self._timeline: tuple[str, Timeline] | None = None

    def set_timeline(self, model: str, timeline: Timeline) -> None:
        """The walk that later wishes name by a time alone."""
        self._timeline = (model, timeline)

    async def wish(self, message: dict[str, Any]) -> bytes | None:
        """The frame for {"stamp", "scene"} or {"stamp", "time"}; None if a newer wish came meanwhile.

        With "moving" it may be a draft of half the size, if the model is slow: the hand will send another when it rests.

        Raises StudioError for a wish that cannot be drawn."""
        stamp = message.get("stamp")
        if not isinstance(stamp, int) or not 0 <= stamp < 1 << 32:
            raise BadInput("A wish needs a stamp.", "Reload the page.")
        self._newest = max(self._newest, stamp)
        async with self._turn:
            if stamp < self._newest:
                return None
            scene = self._scene(message)
            draft = message.get("moving") is True
            return await asyncio.wrap_future(self._engine.submit(self._draw, stamp, scene, draft))

    def _scene(self, message: dict[str, Any]) -> Scene:
        return self.scene_at(float(message["time"])) if "time" in message else from_json(Scene, message.get("scene"))

    def scene_at(self, seconds: float) -> Scene:
        """The scene of the walk at a time. Raises BadInput if there is no walk."""
        if self._timeline is None:
            raise BadInput("There is no walk to play yet.", "Add at least two points to the strip.")
        model, timeline = self._timeline
        return Scene(model=model, point=timeline.at(seconds))

    def _draw(self, stamp: int, scene: Scene, draft: bool) -> bytes:
        picture = self._engine.frame(scene, draft=draft)
        is_draft = draft and picture.shape[0] < self._engine.card(scene.model).resolution
        return encode_frame(stamp, picture, draft=is_draft)


def encode_frame(stamp: int, picture: np.ndarray, *, draft: bool = False) -> bytes:
    """Header and picture of a uint8 [h, w, c] array with 1, 3 or 4 channels."""
    from studio.media import stills

    height, width, channels = picture.shape
    if height * width <= _RAW_PIXELS:
        kind, data = _RAW, stills.picture(picture).convert("RGBA").tobytes()
    elif channels == 4:
        kind, data = _WEBP, stills.to_webp(picture, quality=85)
    else:
        kind, data = _JPEG, stills.to_jpeg(picture, quality=88)
    return struct.pack("<IBBHHH", stamp, kind, draft, width, height, 0) + data
