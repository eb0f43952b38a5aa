"""Bringing models: from files, folders, zips, paths and the Hub to a card on the shelf that says where it came from."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.errors import BadInput, NoSpace, NotFound, StudioError
from studio.paths import Home
from studio.services import incoming
from studio.services.imports import About, Look
from studio.services.policy import Policy
from studio.services.studio import Studio
from studio.weights.store import load_discriminator, load_generator
from tests.making import make_model
from tests.weights.fake_hub import COMMIT, Repository, serving
from tests.weights.foreign import making_dcgan, making_networks, making_nvlabs

UNKNOWN = About(title="Leaves", licence="unknown")


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    opened = Studio(Home(tmp_path / "home"), Policy(import_bytes=50_000_000))
    yield opened
    opened.close()


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """A snapshot as NVIDIA's program writes it, with its discriminator."""
    (tmp_path / "sources").mkdir(exist_ok=True)
    networks = making_networks.stylegan2()
    return making_nvlabs.write_stylegan2_ada(tmp_path / "sources" / "leaves_32.pkl", *networks, kimg=25.0)


def send(studio: Studio, **files: bytes) -> str:
    import_id = studio.imports.begin()
    for name, content in files.items():
        with studio.imports.receive(import_id, name) as write:
            write(content[:100])
            write(content[100:])
    return import_id


def shelf_card(studio: Studio, model_id: str) -> Any:
    entry = studio.shelf.entry(model_id)
    assert not entry.problem
    return entry.card


def left_behind(studio: Studio) -> list[Path]:
    return [path for place in ("imports", "hub") for path in (studio.home.cache / place).glob("*")]


def test_a_snapshot_is_looked_at_and_kept(studio: Studio, snapshot: Path) -> None:
    look = studio.imports.look_now("", import_id=send(studio, **{"leaves_32.pkl": snapshot.read_bytes()}))
    assert (look.family, look.resolution, look.kimg, look.learns) == ("stylegan2", 32, 25.0, True)
    assert look.about.title == "leaves 32" and len(look.candidates) == 1 and not look.choices
    assert studio.imports.sheet(look.id, 0).read_bytes()[8:12] == b"WEBP"
    model = studio.imports.keep_now(look.id, About(title="Leaves", licence="MIT", author="Ana", trained_on="leaves"))
    card = shelf_card(studio, model)
    assert (card.title, card.licence, card.author, card.trained_on) == ("Leaves", "MIT", "Ana", "leaves")
    assert card.source["sha256"] == hashlib.sha256(snapshot.read_bytes()).hexdigest()
    assert card.source["file"] == "leaves_32.pkl" and "NVIDIA" in card.source["format"] and "leaves_32" in card.origin
    assert isinstance(json.loads(card.source["arguments"]), dict)
    folder = studio.shelf.folder(model)
    generator, _ = load_generator(folder)
    made, _ = making_networks.stylegan2()
    making_networks.assert_same(generator, made)
    assert load_discriminator(folder) is not None
    assert not left_behind(studio)
    assert studio.engine.submit(studio.engine.describe, model).result()["card"]["source"] == card.source


def test_the_same_file_again_is_noticed_and_gets_another_name(studio: Studio, snapshot: Path) -> None:
    studio.imports.keep_now(studio.imports.look_now(str(snapshot)).id, UNKNOWN)
    again = studio.imports.look_now(str(snapshot))
    assert any("on the shelf already, as Leaves" in warning for warning in again.warnings)
    with pytest.raises(BadInput, match="There is a model called leaves"):
        studio.imports.keep_now(again.id, About(title="leaves", licence="unknown"))
    studio.imports.keep_now(again.id, About(title="Leaves 2", licence="unknown"))
    assert studio.imports.look_now(str(snapshot)).about.title == "leaves 32"


def test_every_reading_is_drawn_and_the_chosen_one_is_kept(studio: Studio, tmp_path: Path) -> None:
    making_dcgan.write_dcgan(tmp_path / "flowers.pth")
    look = studio.imports.look_now(str(tmp_path / "flowers.pth"))
    assert len(look.candidates) > 1
    sheets = {studio.imports.sheet(look.id, number).read_bytes() for number in range(len(look.candidates))}
    assert len(sheets) == len(look.candidates)
    assert studio.imports.contact_sheet(look.id).startswith(b"\x89PNG")
    preview = studio.imports.sheet(look.id, 2).read_bytes()
    with pytest.raises(BadInput, match="no reading 99"):
        studio.imports.keep_now(look.id, UNKNOWN, 99)
    model = studio.imports.keep_now(look.id, UNKNOWN, 2)
    assert (studio.shelf.folder(model) / "preview.webp").read_bytes() == preview
    assert shelf_card(studio, model).source["read_as"] == look.candidates[2]


def test_of_a_folder_with_several_weights_the_artist_chooses(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    making_dcgan.write_dcgan(tmp_path / "run" / "netG_epoch_1.pth")
    making_dcgan.write_dcgan(tmp_path / "run" / "netG_epoch_24.pth", resolution=16)
    (tmp_path / "run" / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n# Run\n")
    look = studio.imports.look_now(str(tmp_path / "run"))
    assert look.choices == ("netG_epoch_24.pth", "netG_epoch_1.pth") and look.choice == look.choices[0]
    assert (look.resolution, look.about.licence, look.about.title) == (16, "cc-by-4.0", "run")
    studio.imports._ended(studio.imports.start_look(look.id, "netG_epoch_1.pth"))
    again = studio.imports._import(look.id).look
    assert again is not None and (again.resolution, again.choice) == (32, "netG_epoch_1.pth")
    with pytest.raises(StudioError, match=r"no weights '\.\./x'"):
        studio.imports._ended(studio.imports.start_look(look.id, "../x"))


@pytest.mark.parametrize("packed", [False, True])
def test_a_model_of_ours_is_copied_byte_for_byte(studio: Studio, tmp_path: Path, packed: bool) -> None:
    folder = make_model(tmp_path / "sources" / "tiny", "stylegan2", "Tiny")
    source = folder.parent
    if packed:
        source = tmp_path / "tiny.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for path in folder.iterdir():
                archive.write(path, f"tiny/{path.name}")
    look = studio.imports.look_now(str(source))
    assert look.format == "A model of Latent Studio" and look.about.title == "Tiny"
    model = studio.imports.keep_now(look.id, look.about)
    kept = studio.shelf.folder(model)
    assert (kept / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    card = shelf_card(studio, model)
    assert (card.licence, card.origin, card.source["sha256"]) == ("CC0-1.0", "a test", card.sha256)
    assert load_generator(kept)[1] == card


def test_a_changed_model_of_ours_is_refused_and_read_no_other_way(studio: Studio, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "sources" / "tiny", "stylegan2", "Tiny")
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(StudioError, match="have changed since they were saved"):
        studio.imports.look_now(str(folder))
    assert not left_behind(studio)


class Command:
    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("open('executed', 'w')",))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("model.pkl", b"<!doctype html><html><body>Sign in</body></html>", "web page"),
        ("model.pkl", pickle.dumps({"G_ema": Command()}), "cannot be read safely"),
        ("model.zip", b"PK\x03\x04 not a zip at all", "zip"),
        ("model.pt", b"", ""),
        ("notes.txt", b"nothing", ""),
    ],
)
def test_what_is_no_model_is_refused_by_a_sentence(
    studio: Studio, name: str, content: bytes, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StudioError, match=sentence or None) as refused:
        studio.imports.look_now("", import_id=send(studio, **{name: content}))
    assert refused.value.message.endswith(".") and refused.value.hint
    assert not (tmp_path / "executed").exists() and not left_behind(studio)


def test_a_zip_may_hold_weights_of_others(studio: Studio, tmp_path: Path) -> None:
    making_dcgan.write_huggan(tmp_path / "flowers")
    with zipfile.ZipFile(tmp_path / "f.zip", "w") as archive:
        for path in (tmp_path / "flowers").iterdir():
            archive.write(path, f"flowers/{path.name}")
        archive.writestr("../../LICENSE", b"free")
    look = studio.imports.look_now(str(tmp_path / "f.zip"))
    assert look.family == "dcgan" and look.file_name == "pytorch_model.bin"
    assert all(studio.home.cache in path.parents for path in tmp_path.parent.rglob("LICENSE"))


def test_odd_paths_are_refused(studio: Studio, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pkl")
    for path in (str(tmp_path / "pipe.pkl"), "/dev/zero"):
        with pytest.raises(BadInput, match="not an ordinary file"):
            studio.imports.open_path(path)
    for path in ("/" + "x" * 5_000, "", "/a\0b", "~nobody-at-all/x"):
        with pytest.raises(NotFound, match="no file or folder"):
            studio.imports.open_path(path)
    assert studio.imports.open_path((tmp_path / "pipe.pkl").parent.as_uri())


def test_weights_in_a_zip_that_cannot_be_used_are_said(studio: Studio, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "odd.zip", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("model.pth", bytes(1_000))
    with pytest.raises(StudioError, match=r"model\.pth: .* packed in a way"):
        studio.imports.look_now(str(tmp_path / "odd.zip"))


def test_a_wrong_choice_leaves_what_was_looked_at(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    making_dcgan.write_dcgan(tmp_path / "run" / "netG_epoch_24.pth")
    (tmp_path / "run" / "netD_epoch_24.pth").write_bytes(b"nothing that could be read")
    look = studio.imports.look_now(str(tmp_path / "run"))
    with pytest.raises(StudioError):
        studio.imports._ended(studio.imports.start_look(look.id, "netD_epoch_24.pth"))
    assert studio.imports.sheet(look.id, 0).is_file()
    assert studio.imports.keep_now(look.id, UNKNOWN)


def test_a_bomb_is_refused(studio: Studio, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.pth", bytes(60_000_000))
    with pytest.raises(StudioError, match="unpacks to more than"):
        studio.imports.look_now(str(tmp_path / "bomb.zip"))


def test_an_upload_has_its_limits_and_leaves_no_part(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    import_id = studio.imports.begin()
    with pytest.raises(BadInput, match=r"more than 0\.1 GB"), studio.imports.receive(import_id, "a.pkl") as write:
        for _ in range(51):
            write(bytes(1_000_000))
    with pytest.raises(RuntimeError), studio.imports.receive(import_id, "b.pkl") as write:
        write(b"half")
        raise RuntimeError("the page went away")
    monkeypatch.setattr(incoming, "SPARE_BYTES", 1 << 60)
    with pytest.raises(NoSpace), studio.imports.receive(import_id, "c.pkl") as write:
        write(b"full")
    assert not list((studio.home.cache / "imports" / import_id).rglob("*.p*"))
    with pytest.raises(StudioError, match="nothing in"):
        studio.imports.look_now("", import_id=import_id)


@pytest.mark.parametrize(
    "path", ["../../up.pkl", "/etc/up.pkl", "C:\\up.pkl", "a/b/c/d/e/f/g/h/up.pkl", "…\u202e.pkl", "", "."]
)
def test_files_stay_below_their_import(studio: Studio, path: str) -> None:
    import_id = studio.imports.begin()
    for _ in range(2):
        with studio.imports.receive(import_id, path) as write:
            write(b"content")
    files = [
        found for found in studio.home.root.parent.rglob("*") if found.is_file() and found.read_bytes() == b"content"
    ]
    assert len(files) == 2
    assert all(studio.home.cache / "imports" / import_id / "files" in found.parents for found in files)


def test_names_that_say_nothing_are_passed_over(tmp_path: Path) -> None:
    said = {
        "network-snapshot-000250.pkl": "", "pytorch_model.bin": "", "netG_epoch_24.pth": "", "ffhq-256.pkl": "ffhq 256",
        "model.safetensors": "", "my_flowers.pt": "my flowers", "000123.pt": "",
    }  # fmt: skip
    folder = tmp_path / "models" / "files"
    assert {name: incoming.title_of(folder, folder / name) for name in said} == said
    assert incoming.title_of(tmp_path / "Orchids" / "model.pt", tmp_path / "Orchids" / "model.pt") == "Orchids"


def test_a_name_and_a_licence_are_needed(studio: Studio, snapshot: Path) -> None:
    look = studio.imports.look_now(str(snapshot))
    for about, sentence in ((About(licence="MIT"), "needs a name"), (About(title="A"), "licence is not named")):
        with pytest.raises(BadInput, match=sentence):
            studio.imports.keep_now(look.id, about)
    studio.imports.forget(look.id)
    with pytest.raises(NotFound, match="import is over"):
        studio.imports.keep_now(look.id, UNKNOWN)


def test_a_full_disk_while_saving_leaves_nothing(
    studio: Studio, snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from studio.weights import store

    look = studio.imports.look_now(str(snapshot))

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(store, "save_weights", full)
        with pytest.raises(StudioError, match="disk is full"):
            studio.imports.keep_now(look.id, UNKNOWN)
    assert not list(studio.home.models.iterdir())
    assert studio.imports.keep_now(look.id, UNKNOWN)


def test_cancelling_leaves_nothing(studio: Studio, snapshot: Path) -> None:
    import_id = send(studio, **{"a.pkl": snapshot.read_bytes()})
    job = studio.imports.start_look(import_id)
    studio.jobs.cancel(job)
    studio.imports.forget(import_id)
    assert studio.jobs.wait(job, 30)["state"] in ("cancelled", "done")
    assert not left_behind(studio)


def test_leftovers_of_yesterday_are_swept(studio: Studio) -> None:
    old, new = (studio.home.cache / "imports" / name for name in ("import-old", "import-new"))
    for folder in (old, new):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    studio.imports.sweep()
    assert not old.exists() and new.exists()


def test_from_the_hub_to_the_shelf(studio: Studio, snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        files = {"network-snapshot-000025.pkl": snapshot.read_bytes(), "train.py": b"print('never')"}
        hub.repositories["ana/leaves"] = Repository(
            files=files, card={"license": "cc-by-4.0", "datasets": ["ana/plants"]}
        )
        stages: list[str] = []
        look = studio.imports.look_now("ana/leaves", tell=lambda status: stages.append(status.stage))
        told = Look(**{**vars(look)}).about
        assert (told.title, told.licence, told.author, told.trained_on) == ("leaves", "cc-by-4.0", "ana", "ana/plants")
        model = studio.imports.keep_now(look.id, told)
    source = shelf_card(studio, model).source
    assert (source["hub"], source["revision"]) == ("ana/leaves", COMMIT)
    assert "ana/leaves on the Hugging Face Hub" in shelf_card(studio, model).origin
    assert not left_behind(studio)
    with pytest.raises(NotFound, match="no file or folder"):
        studio.imports.look_now("no such thing")
