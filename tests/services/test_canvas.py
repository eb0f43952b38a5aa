"""The newest wish wins, a wrong wish harms nobody, and frames decode to the picture."""

from __future__ import annotations

import asyncio
import json
import struct
import threading
from pathlib import Path

import numpy as np
import pytest

from studio.errors import BadInput
from studio.latent.point import Edit, Point, Scene, Seed
from studio.latent.timeline import Keyframe, Timeline
from studio.options import to_json
from studio.paths import Home
from studio.services.canvas import Canvas, encode_frame
from studio.services.engine import Engine
from studio.services.policy import Policy
from studio.services.studio import Studio
from studio.ui.routes import draw_wish
from tests.making import make_model


@pytest.fixture
def studio(tmp_path: Path):
    make_model(tmp_path / "models" / "tiny")
    opened = Studio(Home(tmp_path), Policy())
    yield opened
    opened.close()


def scene(seed: int = 1, **more) -> dict:
    return to_json(Scene(model="tiny", point=Point(seeds=(Seed(seed=seed),), **more)))


def test_a_wish_becomes_the_picture_of_its_scene(studio: Studio) -> None:
    frame = asyncio.run(Canvas(studio.engine).wish({"stamp": 5, "scene": scene(3)}))
    assert frame is not None
    stamp, kind, _, width, height, _ = struct.unpack("<IBBHHH", frame[:12])
    assert (stamp, kind, width, height) == (5, 0, 16, 16)
    pixels = np.frombuffer(frame[12:], np.uint8).reshape(16, 16, 4)
    drawn = studio.engine.submit(studio.engine.frame, Scene(model="tiny", point=Point(seeds=(Seed(seed=3),)))).result()
    assert np.abs(pixels[..., :3].astype(int) - drawn).max() <= 3 and (pixels[..., 3] == 255).all()


def test_of_many_wishes_only_the_newest_are_drawn() -> None:
    drawn: list[int] = []
    free = threading.Event()

    class SlowEngine(Engine):
        def frame(self, scene: Scene, *, draft: bool = False) -> np.ndarray:
            drawn.append(scene.point.seeds[0].seed)
            free.wait(5)
            return np.zeros((2, 2, 3), np.uint8)

    engine = SlowEngine(lambda model: Path(model), Path())

    async def drag() -> list[bytes | None]:
        canvas = Canvas(engine)
        wishes = [asyncio.create_task(canvas.wish({"stamp": n, "scene": scene(n)})) for n in range(8)]
        await asyncio.sleep(0.1)
        free.set()
        return await asyncio.gather(*wishes)

    frames = asyncio.run(drag())
    assert drawn[-1] == 7 and len(drawn) <= 2
    assert frames[-1] is not None and frames[3] is None
    engine.close()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"stamp": -1}', '{"stamp": 1}', '{"stamp": 1, "scene": {"model": "tiny"}}', '{"stamp": 1, "time": 0}',
     '{"stamp": 1, "time": "x"}', json.dumps({"stamp": 1, "scene": {**scene(), "model": "../x"}}),
     json.dumps({"stamp": 1, "scene": scene(edits=(Edit(direction="nowhere", amount=1.0),))}), "[" * 100_000],
)  # fmt: skip
def test_a_wrong_wish_is_answered_and_harms_nobody(studio: Studio, text: str) -> None:
    async def try_both() -> tuple[object, object]:
        canvas = Canvas(studio.engine)
        wrong = await draw_wish(canvas, text)
        return wrong, await draw_wish(canvas, json.dumps({"stamp": 2, "scene": scene()}))

    wrong, right = asyncio.run(try_both())
    assert isinstance(wrong, dict) and wrong["error"].endswith(".") and wrong["kind"] != "Bug"
    assert isinstance(right, bytes)


def test_a_walk_is_named_by_time(studio: Studio) -> None:
    points = [Point(seeds=(Seed(seed=seed),)) for seed in (1, 2)]
    timeline = Timeline(keyframes=tuple(Keyframe(point=point, seconds=1.0) for point in points))

    async def play() -> list[bytes | None]:
        canvas = Canvas(studio.engine)
        canvas.set_timeline("tiny", timeline)
        return [await canvas.wish({"stamp": n, "time": time}) for n, time in enumerate((0.0, 0.5, 1.0))]

    frames = asyncio.run(play())
    assert len({frame[12:] for frame in frames if frame}) == 3


def test_large_and_clear_pictures_are_encoded() -> None:
    import io

    from PIL import Image

    rng = np.random.default_rng(0)
    for channels, kind, name in ((3, 1, "JPEG"), (1, 1, "JPEG"), (4, 2, "WEBP")):
        frame = encode_frame(1, rng.integers(0, 255, (160, 160, channels), np.uint8))
        assert frame[4] == kind and Image.open(io.BytesIO(frame[12:])).format == name


def test_the_same_scene_gives_the_same_pixels(studio: Studio) -> None:
    wish = Scene(model="tiny", point=Point(seeds=(Seed(seed=1),), edits=(Edit(direction="sefa-1", amount=1.5),)))
    first = studio.draw_png(wish)
    studio.engine.forget("tiny")
    assert all(studio.draw_png(wish) == first for _ in range(5))


def test_the_quick_form_is_close_to_the_exact_one(studio: Studio) -> None:
    wish = Scene(model="tiny", point=Point(seeds=(Seed(seed=1),)))
    quick, exact = (studio.engine.submit(draw, wish).result() for draw in (studio.engine.frame, studio.engine.still))
    assert np.abs(quick.astype(int) - exact.astype(int)).mean() < 3


def test_a_page_of_another_process_is_refused(studio: Studio) -> None:
    from studio.errors import Forbidden

    with pytest.raises(Forbidden):
        studio.canvas("a token of before")
    with pytest.raises(BadInput):
        studio.model_folder("../escape")
