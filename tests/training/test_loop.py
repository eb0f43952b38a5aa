import dataclasses
import itertools
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from stand_ins import make_config, make_dataset, make_run

from studio.errors import BadInput
from studio.options import to_json
from studio.training import checkpoint, events, loop
from studio.training.events import Checkpoint, Failed, Finished, Paused, Preview, Progress, Snapshot, Started, Warned
from studio.training.loop import train
from studio.training.opening import snapshot_seconds, usual_threads
from studio.training.step import NotFinite
from studio.weights.store import load_discriminator, load_generator


@pytest.fixture
def pictures(tmp_path):
    return make_dataset(tmp_path / "pictures")


def after(steps, then):
    """A wish that changes to `then` once so many steps are done."""
    asked = iter(["train"] * steps)
    return lambda: next(asked, then)


def names(told):
    return [type(event).__name__ for event in told]


def pixels(file):
    return np.asarray(Image.open(file), dtype=float)


def final(folder):
    return checkpoint.read(checkpoint.found(folder.checkpoints)[0])


def test_a_run_tells_its_story_and_leaves_a_model(tmp_path, pictures):
    folder = make_run(tmp_path / "run", make_config(pictures, publish_to=str(tmp_path / "models" / "tiny")))
    told = list(train(folder))
    assert isinstance(told[0], Started) and not told[0].resumed
    assert isinstance(told[1], Snapshot) and isinstance(told[2], Preview) and isinstance(told[-1], Finished)
    assert {Progress, Checkpoint, Snapshot} <= {type(event) for event in told}
    assert told[-1].step == 10 and told[-1].kimg == 0.04
    for preview in (event for event in told if isinstance(event, Preview)):
        assert (folder.previews / preview.file).is_file() and len(preview.seeds) == preview.rows * preview.columns
    generator, card = load_generator(tmp_path / "models" / "tiny")
    assert card.kimg == 0.04 and "Corners" in card.trained_on and load_discriminator(tmp_path / "models" / "tiny")
    assert load_generator(folder.snapshots / "00000010")[1].resolution == generator.resolution
    again = list(train(folder))
    assert names(again)[-1] == "Finished" and again[-1].step == 10


@pytest.mark.parametrize(
    "changes", [{}, {"augment": "diffaugment", "mirror": True, "r2_gamma": 0.5, "d_steps": 2, "calm_share": 0.5}]
)
@pytest.mark.parametrize("cut", [1, 4, 7])
def test_resuming_is_exact(tmp_path, pictures, cut, changes):
    config = make_config(pictures, **changes, kimg=0.04 * changes.get("d_steps", 1))
    whole, parts = make_run(tmp_path / "whole", config), make_run(tmp_path / "parts", config)
    list(train(whole))
    assert names(train(parts, wish=after(cut, "interrupt")))[-1] == "Paused"
    told = list(train(parts))
    assert told[0].resumed and told[0].step == cut
    (expected, about), (found, about_parts) = final(whole), final(parts)
    assert expected.keys() == found.keys()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    assert about["augment_p"] == about_parts["augment_p"] != config.augment_start_p or config.augment != "ada"


def test_pause_stop_and_more_time(tmp_path, pictures):
    folder = make_run(tmp_path / "run", make_config(pictures, publish_to=str(tmp_path / "tiny")))
    told = list(train(folder, wish=after(3, "pause")))
    assert told[-1] == Paused(reason="asked", step=3, kimg=0.012, seconds=told[-1].seconds)
    told = list(train(folder, wish=after(2, "stop")))
    assert told[-1].step == 5 and isinstance(told[-1], Finished) and (tmp_path / "tiny").is_dir()
    folder.write_config(dataclasses.replace(folder.read_config(), kimg=0.028))
    told = list(train(folder))
    assert told[0].resumed and told[-1].step == 7 and not any(isinstance(event, Warned) for event in told)


@pytest.mark.parametrize("end", ["pause", "stop"])
def test_a_run_goes_on_at_the_second_at_which_it_said_that_it_ended(tmp_path, pictures, end):
    ticks = itertools.count()
    folder = make_run(tmp_path / "run", make_config(pictures, minutes=10, checkpoint_seconds=0.05))
    told = list(train(folder, wish=after(3, end), clock=lambda: float(next(ticks))))
    saved = [event for event in told if isinstance(event, Checkpoint)]
    assert [event.step for event in saved[-2:]] == [3, 3] and saved[-2].seconds < told[-1].seconds
    assert next(iter(train(folder))).seconds == told[-1].seconds


def test_a_run_that_is_stopped_before_it_learned_makes_no_model(tmp_path, pictures):
    folder = make_run(tmp_path / "run", make_config(pictures, publish_to=str(tmp_path / "tiny")))
    ended = list(train(folder, wish=lambda: "stop"))[-1]
    assert isinstance(ended, Finished) and not ended.model and "Nothing was learned" in ended.message
    assert not (tmp_path / "tiny").exists()
    assert list(train(folder))[-1].model, "it can still go on"


def test_a_deleted_folder_ends_it_quietly(tmp_path, pictures):
    folder = make_run(tmp_path / "run", make_config(pictures))
    assert names(train(folder, wish=after(2, "gone")))[-1] != "Paused"
    assert not checkpoint.found(folder.checkpoints)


def test_a_deleted_folder_stays_deleted(tmp_path, pictures, monkeypatch):
    folder = make_run(tmp_path / "run", make_config(pictures, kimg=0.0, checkpoint_seconds=1.0))
    real, seconds = loop.train_step, iter(range(10_000))

    def deleting(bench, state, **how):
        if state.step == 2:
            shutil.rmtree(folder.root)
        return real(bench, state, **how)

    monkeypatch.setattr(loop, "train_step", deleting)
    wish = lambda: "train" if folder.config.is_file() else "gone"  # noqa: E731
    told = list(train(folder, wish=wish, clock=lambda: float(next(seconds))))
    assert not folder.root.exists() and not any(isinstance(event, Failed) for event in told)


def test_the_clock_ends_it(tmp_path, pictures):
    seconds = iter(range(10_000))
    folder = make_run(tmp_path / "run", make_config(pictures, kimg=0.0, minutes=0.5, checkpoint_seconds=10.0))
    told = list(train(folder, clock=lambda: float(next(seconds))))
    assert isinstance(told[-1], Finished) and 30 <= told[-1].seconds < 45
    assert sum(isinstance(event, Checkpoint) for event in told) >= 2
    assert sum(isinstance(event, Snapshot) for event in told) >= 3


def test_the_clock_calms_it_and_more_time_wakes_it(tmp_path, pictures, monkeypatch):
    real, calm, seconds = loop.train_step, [], iter(range(10_000))

    def stepping(bench, state, **how):
        calm.append((state.seconds, how["calm"]))
        return real(bench, state, **how)

    monkeypatch.setattr(loop, "train_step", stepping)
    folder = make_run(tmp_path / "run", make_config(pictures, kimg=0.0, minutes=1.0, calm_share=0.25))
    ended = list(train(folder, clock=lambda: float(next(seconds))))[-1]
    assert isinstance(ended, Finished) and {is_calm for _, is_calm in calm} == {False, True}
    assert all(is_calm == (at >= 45) for at, is_calm in calm)
    folder.write_config(dataclasses.replace(folder.read_config(), minutes=4.0))
    calm.clear()
    list(train(folder, wish=after(2, "pause")))
    assert [is_calm for _, is_calm in calm] == [False, False]


def test_a_run_of_an_earlier_version_is_read(tmp_path, pictures):
    folder = make_run(tmp_path / "run", config := make_config(pictures))
    folder.config.write_text(json.dumps(to_json(config) | {"calm_kimg": 3.0}))
    assert folder.read_config() == config
    folder.config.write_text(json.dumps(to_json(config) | {"dreams": 3.0}))
    with pytest.raises(BadInput, match="dreams"):
        folder.read_config()
    folder.config.write_text("[]")
    with pytest.raises(BadInput):
        folder.read_config()


def test_it_goes_on_from_a_base_model(tmp_path, pictures):
    first = make_run(tmp_path / "first", make_config(pictures, publish_to=str(tmp_path / "base")))
    list(train(first))
    config = make_config(pictures, base_model=str(tmp_path / "base"), kimg=0.008, publish_to=str(tmp_path / "second"))
    folder = make_run(tmp_path / "run", config)
    sheet = next(event for event in train(folder) if isinstance(event, Preview))
    learned, begun = pixels(first.previews / "00000010.webp"), pixels(folder.previews / sheet.file)
    fresh = pixels(first.previews / "00000000.webp")
    assert np.abs(learned - begun).mean() < 3 < 5 < np.abs(learned - fresh).mean()
    list(train(folder))
    assert "starting from Tiny" in load_generator(tmp_path / "second")[1].origin


@pytest.mark.parametrize("settings", [{"mapping_layers": 3}, {"w_dim": 16}, {"classes": 3}])
def test_another_base_is_refused_in_plain_words(tmp_path, pictures, settings):
    list(train(make_run(tmp_path / "first", make_config(pictures, publish_to=str(tmp_path / "base")))))
    other = make_dataset(tmp_path / "other", classes=2 * ("classes" in settings))
    config = make_config(other, base_model=str(tmp_path / "base"), settings=settings)
    told = list(train(make_run(tmp_path / "run", config)))
    assert names(told) == ["Failed"] and told[0].message.endswith(".") and told[0].hint


@pytest.mark.parametrize("wrong", [{"resolution": 16}, {"channels": 1}, {"classes": 3}])
def test_pictures_that_do_not_fit_are_refused(tmp_path, pictures, wrong):
    told = list(train(make_run(tmp_path / "run", make_config(pictures, settings=wrong))))
    assert names(told) == ["Failed"] and "dataset" in told[0].message


def test_larger_pictures_are_shrunk(tmp_path):
    pictures = make_dataset(tmp_path / "pictures", resolution=32)
    assert names(train(make_run(tmp_path / "run", make_config(pictures, kimg=0.008))))[-1] == "Finished"


def test_classes_and_grey(tmp_path):
    pictures = make_dataset(tmp_path / "pictures", classes=3, channels=1)
    config = make_config(pictures, settings={"classes": 3, "channels": 1}, kimg=0.016, publish_to=str(tmp_path / "m"))
    assert names(train(make_run(tmp_path / "run", config)))[-1] == "Finished"
    assert load_generator(tmp_path / "m")[1].classes == ("class 0", "class 1", "class 2")


@pytest.mark.parametrize("family", ["dcgan", "mlp"])
def test_other_families(tmp_path, pictures, family):
    settings = {"resolution": 8, "channels": 3, "classes": 0, "z_dim": 8, "width": 8}
    config = dataclasses.replace(
        make_config(pictures, augment="none", path_length_weight=0.0, r1_gamma=0.0, kimg=0.016),
        family=family, settings=settings,
    )  # fmt: skip
    assert names(train(make_run(tmp_path / "run", config)))[-1] == "Finished"


def break_step(monkeypatch, error, at):
    """Let `train_step` raise `error` at the given calls."""
    real, calls = loop.train_step, iter(range(10_000))

    def broken(bench, state, **how):
        if next(calls) in at:
            raise error
        return real(bench, state, **how)

    monkeypatch.setattr(loop, "train_step", broken)


def test_out_of_memory_halves_the_batch(tmp_path, pictures, monkeypatch):
    break_step(monkeypatch, torch.OutOfMemoryError("no"), {2, 3})
    folder = make_run(tmp_path / "run", make_config(pictures))
    told = list(train(folder))
    warned = [event for event in told if isinstance(event, Warned)]
    assert [event.topic for event in warned] == ["memory", "memory"] and isinstance(told[-1], Finished)
    assert final(folder)[1]["batch"] == 1


def test_too_little_memory_for_one_picture_fails(tmp_path, pictures, monkeypatch):
    break_step(monkeypatch, torch.OutOfMemoryError("no"), range(99))
    told = list(train(make_run(tmp_path / "run", make_config(pictures))))
    assert isinstance(told[-1], Failed) and "memory" in told[-1].message


def test_numbers_that_explode_roll_back_thrice_and_then_fail(tmp_path, pictures, monkeypatch):
    break_step(monkeypatch, NotFinite("It grew."), {3})
    folder = make_run(tmp_path / "run", make_config(pictures))
    told = list(train(folder))
    assert [event.topic for event in told if isinstance(event, Warned)] == ["numbers"]
    assert isinstance(told[-1], Finished) and final(folder)[1]["rate_scale"] == 0.5
    break_step(monkeypatch, NotFinite("It grew."), range(99))
    other = make_run(tmp_path / "other", make_config(pictures))
    told = list(train(other))
    warned = [event for event in told if isinstance(event, Warned)]
    assert len(warned) == 3 and isinstance(told[-1], Failed) and "step 0" in warned[-1].did
    assert final(other)[1]["rate_scale"] == pytest.approx(0.01) and final(other)[1]["rollbacks"] == 0


def test_a_bug_is_not_hidden(tmp_path, pictures, monkeypatch):
    break_step(monkeypatch, ZeroDivisionError(), {1})
    with pytest.raises(ZeroDivisionError):
        list(train(make_run(tmp_path / "run", make_config(pictures))))


def test_a_damaged_checkpoint_is_told(tmp_path, pictures):
    folder = make_run(tmp_path / "run", make_config(pictures))
    list(train(folder, wish=after(2, "pause")))
    list(train(folder, wish=after(2, "pause")))
    newest = checkpoint.found(folder.checkpoints)[0]
    newest.write_bytes(newest.read_bytes()[:-100])
    told = list(train(folder))
    assert isinstance(told[0], Warned) and told[0].topic == "damaged" and told[1].step == 2
    assert isinstance(told[-1], Finished)


def test_leftovers_are_swept(tmp_path, pictures):
    folder = make_run(tmp_path / "run", make_config(pictures))
    folder.prepare()
    (folder.checkpoints / ".tmp-0-x").write_bytes(b"half")
    (folder.snapshots / ".tmp-1-y").mkdir()
    list(train(folder))
    assert not list(folder.root.rglob(".tmp-*"))


def test_snapshots_are_dense_at_first():
    config = make_config(".", minutes=480.0, snapshot_count=24)
    seconds = snapshot_seconds(config)
    gaps = [later - earlier for earlier, later in itertools.pairwise(seconds)]
    assert seconds[0] <= 20 and len(seconds) == 24 and gaps == sorted(gaps) and seconds[-1] < config.total_seconds


def test_threads():
    assert [usual_threads(cores) for cores in (1, 2, 4, 8)] == [1, 2, 3, 7]


def test_a_run_without_settings_fails_plainly(tmp_path):
    from studio.training.folder import RunFolder

    told = list(train(RunFolder(tmp_path)))
    assert names(told) == ["Failed"] and isinstance(told[0], events.Failed)
    (tmp_path / "config.json").write_text("{")
    assert "garbled" in next(train(RunFolder(tmp_path))).message
    with pytest.raises(BadInput):
        RunFolder(tmp_path).read_config()
