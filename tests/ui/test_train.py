"""The train room's Python side: controls from options, what the page may ask for, and an order from a form."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from PIL import Image

from studio.data.prepare import PrepareSettings
from studio.errors import BadInput, Forbidden, NotFound
from studio.options import options, to_json
from studio.paths import Home
from studio.services import training_desk
from studio.services.policy import Policy
from studio.services.studio import Studio
from studio.services.training_desk import Order, Upload, fitted
from studio.training.base_model import require_fit
from studio.training.config import TrainConfig
from studio.ui import train
from studio.ui.calls import Visitor, answer, table
from studio.ui.controls import control, described, hexadecimal, values
from studio.weights.card import ModelCard

VISITOR = Visitor(token="token", owner="me")


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    built = Studio(Home(tmp_path / "home"), Policy())
    yield built
    built.runs.close(graceful=False)
    built.engine.close()


@pytest.fixture
def public_studio(tmp_path: Path) -> Studio:
    return Studio(Home(tmp_path / "home"), Policy(public=True))


def card(**changes: Any) -> ModelCard:
    known = {"id": "m", "title": "Moths", "family": "stylegan2", "settings": {}, "resolution": 64, "channels": 3}
    return ModelCard(**{**known, **changes})


def picture(shade: int) -> bytes:
    image = Image.new("RGB", (40, 32))
    image.putdata(
        [((x * 37 + shade * 53) % 256, (y * 91 + shade) % 256, shade % 256) for y in range(32) for x in range(40)]
    )
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def uploaded(studio: Studio, names: list[str]) -> str:
    upload = train.begin_upload(studio, VISITOR)
    for place, name in enumerate(names):
        studio.datasets.add(upload, name, picture(place))
    return upload


# ── controls ──


def by_name(kind: type) -> dict[str, Any]:
    return {option.name: option for option in options(kind)}


@pytest.mark.parametrize(
    ("kind", "name", "component"),
    [
        (PrepareSettings, "mirror", gr.Checkbox),
        (PrepareSettings, "fit", gr.Radio),
        (PrepareSettings, "background", gr.ColorPicker),
        (TrainConfig, "batch", gr.Number),
        (TrainConfig, "title", gr.Textbox),
    ],
)
def test_every_kind_of_option_has_its_component(kind: type, name: str, component: type) -> None:
    made = control(by_name(kind)[name], prefix="x")
    assert type(made) is component
    assert made.elem_id == f"x-{name}"


def test_a_number_that_is_broken_or_out_of_its_range_is_left_to_the_option_to_refuse() -> None:
    whole, broken = (control(by_name(TrainConfig)[name], prefix="x") for name in ("batch", "r1_gamma"))
    for one in (whole, broken):
        assert (one.minimum, one.maximum, one.precision) == (None, None, None)
    with pytest.raises(BadInput, match=r"Batch must be a whole number, not 2\.5"):
        values([by_name(TrainConfig)["batch"]], [2.5])


def test_every_advanced_setting_has_a_control_and_empty_ones_are_left_out() -> None:
    chosen = described(TrainConfig, advanced=True)
    assert {option.name for option in chosen} >= {"batch", "augment", "r1_gamma", "seed"}
    given = [8.0 if option.name == "batch" else None for option in chosen]
    assert values(chosen, given) == {"batch": 8}
    assert isinstance(values(chosen, given)["batch"], int)


def test_a_value_out_of_range_is_refused_by_name() -> None:
    with pytest.raises(BadInput, match="Batch"):
        values([by_name(TrainConfig)["batch"]], [5000])


@pytest.mark.parametrize("text", ["#0a14ff", "#0A14FF", "rgb(10, 20, 255)", "rgba(10.2, 19.8, 255, 1)"])
def test_colours_come_in_every_way_that_a_picker_gives(text: str) -> None:
    assert hexadecimal(text) == "#0a14ff"


def test_what_is_no_colour_is_refused() -> None:
    with pytest.raises(BadInput):
        hexadecimal("url(//x)")


# ── the form ──


def form_values(**changes: Any) -> list[Any]:
    plain = {**to_json(PrepareSettings()), "pictures": {"dataset": "d"}, "minutes": 30, "base": "", "title": " Moths "}
    plain |= {"family": "", "other": 60}
    return [
        {**plain, **changes}[name]
        for name in ("pictures", "minutes", "other", "base", "family", "title", *(o.name for o in train._PREPARE))
    ]


def test_a_form_becomes_an_order() -> None:
    order = train.read_order(form_values(resolution=64, background="rgba(0, 0, 0, 1)", minutes=5))
    assert order == Order(
        pictures="d", minutes=5.0, title="Moths", prepare=PrepareSettings(resolution=64, background="#000000")
    )


def test_any_number_of_minutes_can_be_asked_for() -> None:
    assert train.read_order(form_values(minutes=train.OTHER, other=2.5)).minutes == 2.5
    assert train.read_order(form_values(minutes=5, other=2.5)).minutes == 5
    for nothing in (None, -1, 0):
        with pytest.raises(BadInput, match=r"Minutes|how long") as refused:
            train.read_order(form_values(minutes=train.OTHER, other=nothing))
        assert 'data-field="other-minutes"' in train._problem(refused.value)


def test_an_upload_in_a_form_is_read_and_no_pictures_are_said_plainly() -> None:
    upload = {"id": "u", "title": "moths", "count": 9, "classes": ["a", "b"]}
    assert train.read_pictures({"upload": upload}) == Upload(id="u", title="moths", count=9, classes=("a", "b"))
    with pytest.raises(BadInput, match="No pictures"):
        train.read_pictures(None)


def test_the_suggestion_of_a_scan_fills_the_form() -> None:
    suggestion = to_json(PrepareSettings(resolution=256, fit="pad"))
    shown = train.show_how({"upload": {"id": "u"}, "suggestion": suggestion})
    assert shown[0]["visible"] is True
    assert dict(zip((o.name for o in train._PREPARE), shown[2:], strict=True))["resolution"] == 256
    assert train.show_how(None)[0]["visible"] is False


def test_what_a_reload_brings_back_wrong_is_as_usual_again() -> None:
    kept = {**to_json(PrepareSettings(resolution=64, fit="tile")), "tiles": -1, "background": None, "nonsense": 1}
    shown = train.show_how({"suggestion": kept})
    values = dict(zip((option.name for option in train._PREPARE), shown[2:], strict=True))
    assert (values["resolution"], values["fit"], values["tiles"], values["background"]) == (64, "tile", 2, "#ffffff")


def test_an_upload_is_scanned_planned_and_becomes_a_run(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[TrainConfig] = []
    monkeypatch.setattr(studio.runs, "start", lambda config: started.append(config) or "the-run")
    upload = uploaded(studio, [f"{'ab'[n % 2]}/{n}.png" for n in range(12)])
    report = studio.jobs.wait(train.scan_upload(studio, VISITOR, upload), 60)["result"]
    assert report["count"] == 12
    chosen = {"id": upload, "title": "letters", "count": 12, "classes": ["a", "b"]}
    given = form_values(pictures={"upload": chosen, "token": studio.sessions.open("x" * 20)}, resolution=32, title="")
    reasons, button, advanced = train.show_plan(studio, given)
    assert reasons.count("<li>") >= 1 and button["interactive"]
    job, problem, _ = train.start(studio, [*given, None, *(4 if o.name == "batch" else None for o in train._ADVANCED)])
    assert problem == ""
    status = studio.jobs.wait(job, 60)
    assert (status["state"], status["result"]) == ("done", "the-run")
    assert started[0].batch == 4 and started[0].settings["classes"] == 2
    assert Path(started[0].dataset, "dataset.json").is_file() and started[0].dataset_fingerprint
    assert len(advanced) == len(train._ADVANCED)
    assert [one["count"] for one in train.datasets(studio, VISITOR)] == [12]


def test_only_what_the_artist_changed_is_asked_for(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    ordered: list[Order] = []
    monkeypatch.setattr(studio.desk, "start", lambda order: ordered.append(order) or "job")
    given = form_values(pictures={"dataset": "d", "token": studio.sessions.open("x" * 20)})
    filled = [getattr(TrainConfig(batch=8), option.name) for option in train._ADVANCED]
    now = [32.0 if option.name == "batch" else value for option, value in zip(train._ADVANCED, filled, strict=True)]
    assert train.start(studio, [*given, filled, *now]) == ["job", "", ""]
    assert ordered[0].changes == {"batch": 32}


def test_a_start_that_cannot_be_answers_with_a_sentence_and_escapes_it(studio: Studio) -> None:
    token = studio.sessions.open("x" * 20)
    given = form_values(pictures={"dataset": "no-such", "token": token}, base="")
    job, problem, _ = train.start(studio, [*given, None, *(None for _ in train._ADVANCED)])
    assert job == "" and "no dataset" in problem and 'role="alert"' in problem
    assert "&lt;b&gt;" in train._problem(BadInput("<b>")) and "<b><b>" not in train._problem(BadInput("<b>"))


def test_a_changed_setting_is_judged_at_once(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_desk, "is_busy", lambda: False)
    upload = uploaded(studio, [f"{n}.png" for n in range(12)])
    studio.jobs.wait(train.scan_upload(studio, VISITOR, upload), 60)
    given = form_values(pictures={"upload": {"id": upload, "count": 12}}, resolution=32)
    planned = train.show_plan(studio, given)

    def reviewed(**changes: Any) -> list[Any]:
        now = [changes.get(o.name, value) for o, value in zip(train._ADVANCED, planned[2], strict=True)]
        return train.reviewed(studio, [*given, planned[2], *now])

    assert reviewed(batch=16)[:2] == [planned[0], ""] and reviewed(batch=16)[2]["interactive"]
    for field in ("batch", "beta1"):
        assert f'data-field="advanced-{field}"' in reviewed(batch=5000, beta1=9)[1]
    assert 'data-field="advanced-objective"' in reviewed(objective="wasserstein")[1]
    assert not reviewed(batch=5000)[2]["interactive"]
    assert train.reviewed(studio, [None, *given[1:], None, *planned[2]])[:2] == ["", ""]


def test_a_busy_machine_is_told_in_the_plan(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = uploaded(studio, [f"{n}.png" for n in range(12)])
    studio.jobs.wait(train.scan_upload(studio, VISITOR, upload), 60)
    given = form_values(pictures={"upload": {"id": upload, "count": 12}}, resolution=32)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    for load, told in ((0.5, False), (3.5, True)):
        monkeypatch.setattr(os, "getloadavg", lambda load=load: (load, 0.0, 0.0), raising=False)
        assert ("keeps this machine busy" in train.show_plan(studio, given)[0]) is told
    monkeypatch.setattr(studio.runs, "at_work", lambda: True)
    assert "Another run is learning" in train.show_plan(studio, given)[0]


def test_a_page_from_before_the_restart_cannot_start(studio: Studio) -> None:
    given = [*form_values(pictures={"dataset": "d", "token": "old"}), None, *(None for _ in train._ADVANCED)]
    assert "Reload the page" in train.start(studio, given)[1]


# ── the model to start from ──


def test_the_base_decides_size_colours_and_classes() -> None:
    settings = fitted(PrepareSettings(fit="pad"), card(resolution=128, channels=4, classes=("a",)))
    assert (settings.resolution, settings.colour, settings.classes_from_folders, settings.fit) == (
        128,
        "rgba",
        True,
        "pad",
    )
    assert fitted(PrepareSettings(), card(resolution=100)).resolution == 128
    for of_folders in (True, False):
        asked = PrepareSettings(classes_from_folders=of_folders)
        assert fitted(asked, card(classes=())).classes_from_folders is of_folders
        assert fitted(asked, card(classes=("a",))).classes_from_folders
    assert fitted(PrepareSettings(), card(resolution=1024)).resolution == 512
    with pytest.raises(BadInput, match="1024 px"):
        fitted(PrepareSettings(), card(resolution=1024, family="stylegan3"))


def test_a_base_that_does_not_fit_is_refused(studio: Studio) -> None:
    upload = uploaded(studio, [f"{n}.png" for n in range(6)])
    studio.datasets.scan(upload)
    info = studio.datasets.prepare(upload, PrepareSettings(resolution=64))
    require_fit(card(), info)
    with pytest.raises(BadInput, match="only 64 px"):
        require_fit(card(family="dcgan", resolution=128), info)


# ── what the page's JavaScript asks for ──


def test_figures_are_thinned_evenly_and_nothing_else_is() -> None:
    records = [{"event": "progress", "step": n} for n in range(1000)]
    records.insert(500, {"event": "warned", "step": 500})
    kept = train.thinned(records, most=100)
    assert len(kept) == 101
    assert kept[-1] == records[-1] and {"event": "warned", "step": 500} in kept
    assert train.thinned(records, most=2000) == records


def test_changes_tell_what_is_new(studio: Studio) -> None:
    folder = studio.home.runs / "r"
    folder.mkdir()
    (folder / "config.json").write_text(
        json.dumps(to_json(TrainConfig(dataset="/x/gone", settings={"resolution": 32})))
    )
    (folder / "events.jsonl").write_text('{"event":"progress","step":1}\n')
    first = train.changes(studio, VISITOR, "r")
    assert [record["step"] for record in first["records"]] == [1]
    assert train.changes(studio, VISITOR, "r", since=first["version"])["records"] == []
    assert train.run(studio, VISITOR, "r")["sentence"] == "gone · 32 px · from scratch"


def test_a_run_that_is_not_there_is_said_so(studio: Studio) -> None:
    with pytest.raises(NotFound):
        train.changes(studio, VISITOR, "nothing")


def test_on_a_public_studio_nothing_that_changes_things_is_allowed(public_studio: Studio) -> None:
    watching = {"run", "changes"}
    for call in train.CALLS:
        if call.__name__ not in watching:
            names = call.__code__.co_varnames[2 : call.__code__.co_argcount]
            with pytest.raises(Forbidden):
                call(public_studio, VISITOR, **dict.fromkeys(names, "1"))
    given = [*form_values(), None, *(None for _ in train._ADVANCED)]
    assert "switched off" in train.start(public_studio, given)[1]


def test_calls_answer_through_the_table(studio: Studio) -> None:
    calls = table(train.CALLS)
    token = studio.sessions.open("x" * 20)
    assert answer(studio, calls, token, "datasets", {}) == {"result": []}
    assert answer(studio, calls, token, "continue_run", {"id": "r", "minutes": -1})["kind"] == "BadInput"


@pytest.mark.parametrize("public", [False, True])
def test_the_room_builds(tmp_path: Path, public: bool) -> None:
    with gr.Blocks() as page:
        train.build(Studio(Home(tmp_path / "home"), Policy(public=public)))
    ids = {block.elem_id for block in page.blocks.values()}
    assert "monitor-mount" in ids
    assert ("start-training" in ids) is not public
