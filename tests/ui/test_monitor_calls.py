"""What the monitor asks for: allowed to whom, and the route for one training picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from studio import cli
from studio.errors import Forbidden
from studio.paths import Home
from studio.services.policy import Policy
from studio.services.studio import Studio
from studio.ui import monitor, routes
from studio.ui.calls import Visitor, answer, table
from tests.making_runs import make_dataset, make_run, write_wanted

VISITOR = Visitor(token="token", owner="me")


def opened(tmp_path: Path, **policy: Any) -> Studio:
    studio = Studio(Home(tmp_path / "home"), Policy(**policy))
    make_dataset(studio.home)
    make_run(studio.home, "moths")
    return studio


def asked(studio: Studio, name: str, **arguments: Any) -> dict[str, Any]:
    return answer(studio, table(monitor.CALLS), studio.sessions.open("x" * 20), name, arguments)


def test_a_stage_is_kept_and_named(tmp_path: Path) -> None:
    kept = asked(opened(tmp_path), "keep_stage", id="moths", step=300)["result"]
    assert kept["model"].startswith("moths") and kept["title"].startswith("Moths")


def test_a_film_is_begun_and_odd_settings_are_refused(tmp_path: Path) -> None:
    studio = opened(tmp_path)
    job = asked(studio, "growth_film", id="moths", settings={"seconds": 5, "fps": 10, "size_px": 128, "seeds": [0, 2]})
    assert studio.jobs.wait(job["result"], 60)["state"] == "done"
    for odd in ({"seconds": 1}, {"colour": "red"}, {"seeds": ["a"]}, {"seeds": "0"}, 7):
        assert asked(studio, "growth_film", id="moths", settings=odd)["kind"] == "BadInput"


def test_differences_are_told(tmp_path: Path) -> None:
    studio = opened(tmp_path)
    make_run(studio.home, "other", batch=4)
    assert asked(studio, "differences", id="moths", other="other")["result"] == [
        {"label": "Batch (pictures)", "here": "16", "there": "4"}
    ]


def test_a_remedy_is_asked_for_once_and_only_where_one_is_offered(tmp_path: Path) -> None:
    studio = opened(tmp_path)
    write_wanted(studio.home.runs / "moths")
    assert asked(studio, "heal_run", id="moths", topic="rollback")["kind"] == "BadInput"
    assert asked(studio, "heal_run", id="moths", topic="divergence")["result"][0]["id"] == "moths"
    assert "divergence" in (studio.home.runs / "moths" / "heal").read_text()


@pytest.mark.parametrize("trains", [False, True])
def test_visitors_of_a_public_studio_may_not_change_its_shelf(tmp_path: Path, trains: bool) -> None:
    studio = opened(tmp_path, public=True, visitors_train=trains)
    with pytest.raises(Forbidden):
        monitor.keep_stage(studio, VISITOR, "moths", 300)
    for call in monitor.CALLS[:1] + monitor.CALLS[2:]:
        if not trains:
            names = call.__code__.co_varnames[2 : call.__code__.co_argcount]
            with pytest.raises(Forbidden):
                call(studio, VISITOR, **dict.fromkeys(names, "moths"))


# ── one training picture ──


def fetched(studio: Studio, path: str, *, token: str | None = None) -> Any:
    client = TestClient(Starlette(routes=routes.routes(studio)))
    return client.get(f"{routes.PREFIX}/training/{path}", params={"token": token or studio.sessions.open("x" * 20)})


def test_a_training_picture_comes_by_its_place(tmp_path: Path) -> None:
    studio = opened(tmp_path)
    found = fetched(studio, "moths/3")
    assert found.status_code == 200 and found.headers["content-type"] == "image/webp" and found.content[:4] == b"RIFF"
    for path in (
        "moths/99",
        "moths/-1",
        "moths/x",
        "moths/%C2%B2",
        "moths/99999999999999999999",
        "other/0",
        "../moths/0",
        ".hidden/0",
    ):
        assert fetched(studio, path).status_code == 404
    assert fetched(studio, "moths/3", token="guessed").status_code == 404


def test_training_pictures_of_a_public_studio_are_not_shown(tmp_path: Path) -> None:
    refused = fetched(opened(tmp_path, public=True), "moths/3")
    assert refused.status_code == 404 and "switched off" in refused.json()["error"]


# ── the command line ──


def test_the_command_line_makes_the_film(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened(tmp_path)
    home, out = str(tmp_path / "home"), tmp_path / "film.mp4"
    given = ["--home", home, "--seconds", "5", "--fps", "10", "--size", "128", "--seeds", "0-1", "--out", str(out)]
    assert cli.main(["film", "moths", *given]) == 0
    assert b"ftyp" in out.read_bytes()[:16] and str(out) in capsys.readouterr().out
    assert cli.main(["film", "moths", "--home", home, "--out", str(tmp_path / "film.gif")]) == 1
    assert "MP4" in capsys.readouterr().err
