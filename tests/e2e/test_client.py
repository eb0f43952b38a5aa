"""The whole job once more through the named endpoints, with `gradio_client`."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from studio.latent.point import Edit, Point, Scene, Seed
from studio.latent.timeline import Keyframe, Timeline
from studio.media.stills import read_recipe
from studio.options import to_json
from tests.making import draw_shapes

PATIENCE_SECONDS = 240


@pytest.fixture(scope="module")
def client(studio_server):
    from gradio_client import Client

    return Client(studio_server.url, verbose=False)


def test_models_pictures_and_films(client) -> None:
    import av

    models = {model["id"] for model in client.predict(api_name="/models")}
    assert {"tiny-style", "tiny-classes", "tiny-dcgan"} <= models
    point = Point(seeds=(Seed(seed=7),), label=1, edits=(Edit(direction="sefa-1", amount=2.0),), truncation=0.8)
    scene = to_json(Scene(model="tiny-classes", point=point))
    asked = {"model": "", "seed": 0, "truncation": 1, "label": None, "scene": json.dumps(scene)}
    first, again = (Path(client.predict(**asked, api_name="/generate")) for _ in range(2))
    assert first.read_bytes() == again.read_bytes()
    recipe = read_recipe(first.read_bytes())
    assert recipe is not None and recipe["scene"] == scene
    keyframes = tuple(Keyframe(point=Point(seeds=(Seed(seed=seed),)), seconds=0.5) for seed in (1, 2))
    timeline = json.dumps(to_json(Timeline(keyframes=keyframes, loop=True)))
    film = client.predict("tiny-style", timeline, "mp4", 10, 64, api_name="/interpolate")
    with av.open(film) as opened:
        assert sum(1 for _ in opened.decode(video=0)) == 10


def test_saving_is_found_in_the_gallery(client) -> None:
    scene = json.dumps(to_json(Scene(model="tiny-style", point=Point(seeds=(Seed(seed=1),)))))
    saved = client.predict(scene, api_name="/save")
    assert saved["id"] in {item["id"] for item in client.predict(api_name="/gallery")}


def test_a_run_from_pictures_to_the_shelf(client, tmp_path: Path) -> None:
    from gradio_client import handle_file

    files = sorted(draw_shapes(tmp_path / "shapes", 12).rglob("*.png"))
    names = [str(file.relative_to(tmp_path)) for file in files]
    report = client.predict([handle_file(str(file)) for file in files], names, api_name="/upload")
    dataset = client.predict(report["upload_id"], {"resolution": 32}, "Client shapes", api_name="/prepare")
    assert dataset["count"] == 12 and dataset["labels"] == ["discs", "squares"]
    run = client.predict(dataset["id"], 0.3, "", "Client shapes", {}, api_name="/start_run")
    deadline = time.monotonic() + PATIENCE_SECONDS
    state = ""
    while time.monotonic() < deadline and state not in {"finished", "failed"}:
        time.sleep(1)
        summary = next(one for one in client.predict(api_name="/runs") if one["id"] == run)
        state = summary["state"]
    assert state == "finished", summary
    assert summary["model_id"] in {model["id"] for model in client.predict(api_name="/models")}
    picture = client.predict(summary["model_id"], 3, 0.7, None, "", api_name="/generate")
    assert read_recipe(Path(picture).read_bytes()) is not None


@pytest.mark.parametrize(
    ("endpoint", "arguments", "sentence"),
    [
        ("/generate", ("no-such-model", 1, 1, None, ""), "no-such-model"),
        ("/generate", ("tiny-style", -5, 1, None, ""), "Seed"),
        ("/generate", ("../../etc", 1, 1, None, ""), "not a name"),
        ("/generate", ("", 1, 1, None, "{not json"), "not the JSON"),
        ("/generate", ("tiny-style", None, 1, None, ""), "whole number"),
        ("/start_run", ("no-such-dataset", 5, "", "", {}), "no-such-dataset"),
        ("/control_run", ("no-such-run", "stop"), "no such run"),
        ("/control_run", ("no-such-run", "explode"), "explode"),
    ],
)
def test_mistakes_are_answered_with_a_sentence(client, endpoint: str, arguments, sentence: str) -> None:
    with pytest.raises(Exception, match=sentence):
        client.predict(*arguments, api_name=endpoint)
