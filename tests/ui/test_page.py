"""The page is built without torch, the door answers before it, and calls answer errors as data."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from studio.errors import BadInput
from studio.paths import Home
from studio.services.policy import Policy
from studio.services.studio import Studio
from studio.ui import gallery, page, play, shelf, train
from studio.ui.calls import answer, table
from studio.ui.door import STAGE_PATH, Door, first_free
from tests.making import make_model

SECRET = "a browser's own secret"


@pytest.fixture
def studio(tmp_path: Path):
    opened = Studio(Home(tmp_path), Policy())
    yield opened
    opened.close()


def test_the_page_is_built_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from studio.paths import Home; from studio.services.policy import Policy\n"
        "from studio.services.studio import Studio; from studio.ui import page\n"
        "page.build(Studio(Home(Path(sys.argv[1])), Policy())); print('torch' in sys.modules)"
    )
    built = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert built.stdout.strip().endswith("False")


def test_the_door_answers_at_once_and_leaves_the_port() -> None:
    door = first_free("127.0.0.1", 7990)
    door.stage = "Opening the page…"
    address = f"http://127.0.0.1:{door.port}/"
    with urllib.request.urlopen(address, timeout=5) as answered:
        assert answered.status == 200 and b"Latent Studio" in answered.read()
    with urllib.request.urlopen(f"{address}{STAGE_PATH[1:]}", timeout=5) as answered:
        assert answered.status == 200 and answered.read().decode() == "Opening the page…"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{address}config", timeout=5)
    assert refused.value.code == 503 and refused.value.read().decode() == "Opening the page…"
    with pytest.raises(OSError):
        Door("127.0.0.1", door.port)
    door.close()
    Door("127.0.0.1", door.port).close()


def test_calls_answer_errors_as_data(studio: Studio) -> None:
    calls = table(shelf.CALLS, play.CALLS, train.CALLS, gallery.CALLS)
    token = studio.sessions.open(SECRET)
    assert answer(studio, calls, token, "gallery", {}) == {"result": []}
    for name, arguments, kind in (
        ("no_such_call", {}, "BadInput"),
        ("__class__", {}, "BadInput"),
        ("model", {"id": "../../etc"}, "BadInput"),
        ("model", {"id": "nothing"}, "NotFound"),
        ("gallery", {"wrong": 1}, "BadInput"),
        ("model", {"id": 5}, "BadInput"),
        ("thumbnails", {"model": "x", "points": 5}, "BadInput"),
        ("thumbnails", {"model": "x", "points": [], "size": "x"}, "BadInput"),
        ("job", {"id": ["x"]}, "BadInput"),
        ("walk", {"model": "x", "timeline": {"keyframes": []}}, "BadInput"),
        ("thumbnails", {"model": "nothing", "points": [{}]}, "BadInput"),
        ("delete_model", {"id": "nothing"}, "NotFound"),
        ("favourite", {"id": "nothing", "on": True}, "NotFound"),
        ("begin_import", {"path": "/no/such/file"}, "NotFound"),
        ("begin_import", {"path": "relative.pkl"}, "NotFound"),
        ("look_at_import", {"id": "import-nothing"}, "NotFound"),
        ("look_at_import", {"id": "../../etc"}, "BadInput"),
        ("look_at_hub", {"address": "not an address"}, "BadInput"),
        ("keep_import", {"id": "import-nothing", "about": {"title": "x"}}, "NotFound"),
        ("keep_import", {"id": "import-nothing", "about": {"wrong": "x"}}, "BadInput"),
    ):
        said = answer(studio, calls, token, name, arguments)
        assert said.get("kind") == kind, (name, said)
        assert said["error"].endswith(".")
    assert answer(studio, calls, "guessed", "gallery", {})["kind"] == "Forbidden"


def test_a_bug_is_one_calm_line(studio: Studio, caplog: pytest.LogCaptureFixture) -> None:
    def broken(studio, visitor):
        raise RuntimeError("secret detail /home/me")

    said = answer(studio, {"broken": broken}, studio.sessions.open(SECRET), "broken", {})
    assert said["kind"] == "Bug" and "secret" not in said["error"] + said["hint"]
    assert "secret detail" in caplog.text


def test_on_a_public_host_visitors_play_but_change_nothing(tmp_path: Path) -> None:
    make_model(tmp_path / "models" / "tiny")
    public = Studio(Home(tmp_path), Policy(public=True))
    calls = table((page.status,), shelf.CALLS, play.CALLS, train.CALLS, gallery.CALLS)
    token = public.sessions.open(SECRET)
    scene = {"model": "tiny", "point": {"seeds": [{"seed": 1}]}}
    saved = answer(public, calls, token, "save", {"scene": scene})["result"]
    for name, arguments in (
        ("begin_upload", {}),
        ("datasets", {}),
        ("delete_model", {"id": "tiny"}),
        ("rename_model", {"id": "tiny", "title": "mine"}),
        ("name_class", {"id": "tiny", "place": 0, "name": "mine"}),
        ("begin_import", {}),
        ("begin_import", {"path": "/etc/passwd"}),
        ("look_at_hub", {"address": "ana/leaves"}),
        ("download_import", {"id": "any", "weights": []}),
        ("look_at_import", {"id": "any"}),
        ("keep_import", {"id": "any", "about": {}}),
        ("forget_import", {"id": "any"}),
        ("stop_run", {"id": "any"}),
        ("delete_run", {"id": "any"}),
        ("changes", {"id": "any"}),
        ("model", {"id": "any-run@00000000"}),
    ):
        assert answer(public, calls, token, name, arguments)["kind"] == "Forbidden", name
    other = public.sessions.open("another browser's own secret")
    assert answer(public, calls, other, "gallery", {}) == {"result": []}
    assert answer(public, calls, other, "delete_picture", {"id": saved["id"]})["kind"] == "NotFound"
    assert [item["id"] for item in answer(public, calls, token, "gallery", {})["result"]] == [saved["id"]]
    with pytest.raises(Exception, match="secret"):
        public.sessions.open("short")
    public.close()


def test_models_tell_their_family_and_whether_it_trains(studio: Studio, tmp_path: Path) -> None:
    make_model(tmp_path / "models" / "tiny")
    calls = table(shelf.CALLS)
    told = {model["id"]: model for model in answer(studio, calls, studio.sessions.open(SECRET), "models", {})["result"]}
    assert (told["tiny"]["family_title"], told["tiny"]["trains"]) == ("StyleGAN2", True)


def routes_of(studio: Studio):
    from starlette.applications import Starlette
    from starlette.testclient import TestClient

    from studio.ui import routes

    return TestClient(Starlette(routes=routes.routes(studio))), studio.sessions.open(SECRET)


def test_a_model_is_sent_in_pieces_and_only_by_who_has_the_page(studio: Studio) -> None:
    client, token = routes_of(studio)
    import_id = studio.imports.begin()
    address = f"/gradio_api/studio/import/{import_id}?path=run/.config.json&token="
    content = bytes(range(256)) * 9000
    assert client.post(address + token, content=content).json() == {"result": {"received": len(content)}}
    kept = studio.home.cache / "imports" / import_id / "files" / "run" / ".config.json"
    assert kept.read_bytes() == content
    assert client.post(address + "guessed", content=content).json()["kind"] == "Forbidden"
    assert (
        client.post(f"/gradio_api/studio/import/import-other?token={token}", content=b"").json()["kind"] == "NotFound"
    )
    assert client.get(f"/gradio_api/studio/file/import/{import_id}/0?token={token}").json()["kind"] == "NotFound"
    assert client.get(f"/gradio_api/studio/file/import/{import_id}/x?token={token}").json()["kind"] == "NotFound"


def test_an_upload_that_is_cut_off_leaves_nothing(studio: Studio) -> None:
    client, token = routes_of(studio)
    import_id = studio.imports.begin()
    said = client.post(
        f"/gradio_api/studio/import/{import_id}?path=a.pkl&token={token}",
        content=iter([b"half"]),
        headers={"Content-Length": "4000"},
    ).json()
    assert said["error"] == "The upload was cut off." and said["hint"]
    assert not [path for path in (studio.home.cache / "imports").rglob("*") if path.is_file()]


def test_visitors_of_a_public_host_send_no_models(tmp_path: Path) -> None:
    public = Studio(Home(tmp_path), Policy(public=True, visitors_train=True))
    client, token = routes_of(public)
    import_id = public.imports.begin()
    said = client.post(f"/gradio_api/studio/import/{import_id}?path=a.pkl&token={token}", content=b"x").json()
    assert said["kind"] == "Forbidden" and "cannot bring models" in said["error"]
    public.close()


def test_the_map_of_seeds_is_the_same_in_both_languages() -> None:
    """assets/map.js computes the seeds of the map itself; latent.point says how."""
    import json
    import shutil

    from studio.latent.point import lattice_seed, seed_pad

    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    text = (Path(__file__).parents[2] / "assets" / "map.js").read_text()
    start, end = text.index("export function latticeSeed"), text.index("export class SeedMap")
    places = [(0.0, 0.0), (0.25, 0.5), (-3.75, 2.0), (1000.5, -999.25)]
    script = text[start:end].replace("export ", "") + (
        f"console.log(JSON.stringify({json.dumps(places)}.map(([x, y]) => seedsAt(x, y, 123456789))))"
    )
    done = subprocess.run([node, "-e", script], capture_output=True, text=True, check=True)
    for place, theirs in zip(places, json.loads(done.stdout), strict=True):
        ours = [{"seed": seed.seed, "weight": seed.weight} for seed in seed_pad(*place, 123456789)]
        assert theirs == ours
    assert lattice_seed(7, 0, 0) == 7


def test_a_refusal_is_not_a_bug(studio: Studio) -> None:
    def refuses(studio, visitor):
        raise BadInput("No.", "Try yes.")

    said = answer(studio, {"refuses": refuses}, studio.sessions.open(SECRET), "refuses", {})
    assert said == {"error": "No.", "hint": "Try yes.", "kind": "BadInput"}
