"""The card's Python side: what its JavaScript asks for, and how a mend changes the form."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from studio.errors import BadInput, Forbidden, NotFound
from studio.paths import Home
from studio.services.policy import Policy
from studio.services.studio import Studio
from studio.ui import doctor, routes, train
from studio.ui.calls import Visitor, answer, table

VISITOR = Visitor(token="token", owner="me")


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    built = Studio(Home(tmp_path / "home"), Policy())
    yield built
    built.runs.close(graceful=False)
    built.engine.close()


def view(seed: int) -> bytes:
    low = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(low).resize((64, 48), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def upload(studio: Studio) -> str:
    upload = studio.datasets.begin()
    for seed in range(7):
        studio.datasets.add(upload, f"{seed}.png", view(seed))
    studio.datasets.add(upload, "copy.png", view(0))
    studio.datasets.scan(upload)
    return upload


def test_the_card_tells_findings_pictures_and_choices(studio: Studio, upload: str) -> None:
    told = doctor.doctor(studio, VISITOR, upload)
    (finding,) = told["findings"]
    assert finding["topic"] == "copies" and told["count"] == 8 and told["left_out"] == ()
    assert {about["label"] for about in told["pictures"].values()} == {"0.png", "copy.png"}
    shown = doctor.upload_pictures(studio, VISITOR, upload, start=6)
    assert [one["label"] for one in shown] == ["6.png", "copy.png"] and shown[0]["size"] == "64 × 48"


def test_choices_go_through_the_table_of_calls(studio: Studio, upload: str) -> None:
    calls = table(doctor.CALLS)
    token = studio.sessions.open("x" * 20)
    id = studio.datasets.pictures(upload)[0].id
    left = answer(studio, calls, token, "leave_out", {"upload": upload, "ids": [id]})
    assert left["result"]["left_out"] == [id]
    assert answer(studio, calls, token, "take_back", {"upload": upload, "ids": [id]})["result"]["left_out"] == []
    cut = {"upload": upload, "id": id, "square": [0, 0, 0.5, 0.5]}
    assert answer(studio, calls, token, "crop_picture", cut)["result"]["squares"] == {id: [0, 0, 0.5, 0.5]}
    for wrong in ([0, 0, 1], ["a", 0, 1, 1], [0, 0, 9, 9]):
        assert answer(studio, calls, token, "crop_picture", {**cut, "square": wrong})["kind"] == "BadInput"
    assert answer(studio, calls, token, "leave_out", {"upload": "upload-0", "ids": [id]})["kind"] == "NotFound"


def test_a_mend_changes_only_its_settings_and_only_to_what_they_can_be() -> None:
    names = [option.name for option in train._PREPARE]
    values = doctor.mended(train._PREPARE, {"settings": {"trim_borders": True}})
    assert values[names.index("trim_borders")] is True
    assert all(
        value["__type__"] == "update" for name, value in zip(names, values, strict=True) if name != "trim_borders"
    )
    with pytest.raises(BadInput):
        doctor.mended(train._PREPARE, {"settings": {"fit": "stretch"}})
    assert all(isinstance(value, dict) for value in doctor.mended(train._PREPARE, "nonsense"))


def test_thumbnails_need_the_studio_to_allow_uploads(studio: Studio, upload: str, tmp_path: Path) -> None:
    id = studio.datasets.pictures(upload)[0].id
    assert routes._find_file(studio, "me", "thumb", f"{upload}/{id}").is_file()
    for name in (f"{upload}/0000", f"upload-none/{id}", f"{upload}/../../report", upload):
        with pytest.raises((NotFound, BadInput)):
            routes._find_file(studio, "me", "thumb", name)
    public = Studio(Home(tmp_path / "public"), Policy(public=True))
    for call in (lambda: routes._find_file(public, "me", "thumb", f"{upload}/{id}"),
                 lambda: doctor.doctor(public, VISITOR, upload), lambda: doctor.leave_out(public, VISITOR, upload, [id]),
                 lambda: doctor.upload_pictures(public, VISITOR, upload),
                 lambda: doctor.take_back(public, VISITOR, upload, [id]),
                 lambda: doctor.crop_picture(public, VISITOR, upload, id)):  # fmt: skip
        with pytest.raises(Forbidden):
            call()


def test_the_plan_counts_what_is_left(studio: Studio, upload: str) -> None:
    from studio.data.prepare import PrepareSettings
    from studio.services.training_desk import Order, Upload

    order = Order(pictures=Upload(id=upload, title="views", count=8), minutes=5, prepare=PrepareSettings(resolution=32))
    ids = [picture.id for picture in studio.datasets.pictures(upload)]
    assert studio.desk.plan(order)
    studio.datasets.leave_out(upload, ids[:4])
    with pytest.raises(BadInput, match="Only 4 pictures are left"):
        studio.desk.plan(order)


def test_the_card_is_part_of_a_new_run(studio: Studio) -> None:
    with gr.Blocks() as page:
        train.build(studio)
    assert "doctor-mount" in {block.elem_id for block in page.blocks.values()}
