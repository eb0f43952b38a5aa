"""The gallery loses nothing, whatever happens, and shows everyone only what is theirs."""

from __future__ import annotations

import hashlib
import io
import random
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from studio.errors import BadInput, Busy, Damaged, NoSpace, NotFound
from studio.options import to_json
from studio.paths import Home
from studio.services import gallery as room
from studio.services.gallery import Gallery


def png(colour: int = 0) -> bytes:
    file = io.BytesIO()
    Image.new("RGBA", (400, 200), (colour, 0, 0, 128)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


@pytest.fixture
def gallery(home: Home) -> Gallery:
    return Gallery(home)


def keep(gallery: Gallery, owner: str = "me", colour: int = 0, **more):
    return gallery.save(owner, png(colour), model="moths", recipe={"model": "moths", "n": colour}, **more)


def test_a_picture_is_saved_and_found(gallery: Gallery) -> None:
    assert gallery.list("me") == ()
    saved = keep(gallery, title="  A\nmoth ", model_title="Moths", colour=7)
    assert gallery.get("me", saved.id) == saved == gallery.list("me")[0]
    assert (saved.title, saved.model_title, saved.recipe) == ("A moth", "Moths", {"model": "moths", "n": 7})
    assert gallery.file("me", saved.id).read_bytes() == png(7)
    assert "owner" not in to_json(saved)


def test_pages_go_from_new_to_old(gallery: Gallery) -> None:
    ids = [keep(gallery).id for _ in range(5)][::-1]
    first = gallery.list("me", limit=2)
    rest = gallery.list("me", limit=9, before=first[-1].id)
    assert [picture.id for picture in first + rest] == ids
    gallery.delete("me", first[-1].id)
    assert gallery.list("me", limit=9, before=first[-1].id) == rest


def test_favourites(gallery: Gallery) -> None:
    one, _ = keep(gallery), keep(gallery)
    gallery.favourite("me", one.id)
    assert [picture.id for picture in gallery.list("me", favourites=True)] == [one.id]
    gallery.favourite("me", one.id, False)
    assert gallery.list("me", favourites=True) == ()


def test_deleting_can_be_undone(gallery: Gallery, home: Home) -> None:
    saved = keep(gallery)
    gallery.delete("me", saved.id)
    assert gallery.list("me") == ()
    for attempt in (gallery.get, gallery.file, gallery.thumbnail, gallery.delete):
        with pytest.raises(NotFound):
            attempt("me", saved.id)
    Gallery(home)
    gallery.restore("me", saved.id)
    assert gallery.list("me") == (saved,)
    with pytest.raises(NotFound):
        gallery.restore("me", saved.id)


def test_long_deleted_pictures_go(gallery: Gallery, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, saved = keep(gallery), keep(gallery)
    gallery.thumbnail("me", saved.id)
    gallery.delete("me", saved.id)
    monkeypatch.setattr(room, "_KEEP_DELETED_SECONDS", -1)
    again = Gallery(home)
    assert {path.stem for path in home.gallery.iterdir()} == {kept.id} and again.list("me") == (kept,)
    with pytest.raises(NotFound):
        again.restore("me", saved.id)


def test_nobody_reaches_another_owners_pictures(gallery: Gallery) -> None:
    saved = keep(gallery)
    attempts = (gallery.get, gallery.file, gallery.thumbnail, gallery.favourite, gallery.delete, gallery.restore)
    for owner in ("you", "", "ME", "%", "me' --"):
        assert gallery.list(owner) == ()
        for attempt in attempts:
            with pytest.raises(NotFound):
                attempt(owner, saved.id)
        with pytest.raises(NotFound):
            gallery.list(owner, before=saved.id)
    assert gallery.get("me", saved.id) == saved


@pytest.mark.parametrize("id", ["../studio.sqlite", "", "x' OR 1=1 --", "\x00", "é" * 500])
def test_odd_ids_are_not_found(gallery: Gallery, id: str) -> None:
    keep(gallery)
    with pytest.raises(NotFound):
        gallery.file("me", id)


def test_thumbnails_are_small_and_kept(gallery: Gallery) -> None:
    saved = keep(gallery, colour=200)
    path = gallery.thumbnail("me", saved.id)
    with Image.open(path) as image:
        assert image.format == "WEBP" and image.size == (320, 160)
    assert gallery.thumbnail("me", saved.id) == path
    (path.parent / saved.file).write_bytes(png()[:60])
    path.unlink()
    with pytest.raises(Damaged):
        gallery.thumbnail("me", saved.id)


@pytest.mark.parametrize(
    ("picture", "recipe"), [(b"GIF89a", {}), (b"", {}), (png(), {"x": float("nan")}), (png(), {"x": object()})]
)
def test_odd_pictures_are_refused_and_leave_nothing(gallery: Gallery, home: Home, picture: bytes, recipe: dict) -> None:
    with pytest.raises(BadInput):
        gallery.save("me", picture, model="m", recipe=recipe)
    assert list(home.gallery.iterdir()) == []


def test_a_full_disk_leaves_nothing_half_saved(gallery: Gallery, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        if path.suffix == ".png":
            raise NoSpace("The disk is full.")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    monkeypatch.setattr(room, "write_file", full)
    with pytest.raises(NoSpace):
        keep(gallery)
    assert list(home.gallery.iterdir()) == [] and gallery.list("me") == ()


def test_a_locked_index_is_busy(gallery: Gallery, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_WAIT_SECONDS", 0)
    with sqlite3.connect(home.database) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Busy):
            keep(gallery)
        with pytest.raises(Busy):
            Gallery(home)
        other.rollback()
    keep(gallery)
    assert len(gallery.list("me")) == 1


def test_what_a_crash_left_is_adopted(gallery: Gallery, home: Home) -> None:
    saved, torn = keep(gallery, title="Kept"), keep(gallery)
    with sqlite3.connect(home.database) as connection:
        connection.execute("DELETE FROM pictures")
    (home.gallery / torn.file).unlink()
    (home.gallery / "foreign.json").write_text("{}")
    (home.gallery / "foreign.png").write_bytes(png())
    again = Gallery(home)
    assert again.list("me") == (saved,) and again.list("you") == ()
    assert {path.name for path in home.gallery.iterdir()} == {
        "foreign.json", "foreign.png", f"{saved.id}.json", saved.file,
    }  # fmt: skip


@pytest.mark.parametrize("content", [b"not a database" * 100, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_broken_index_is_built_anew(gallery: Gallery, home: Home, content: bytes) -> None:
    pictures = [keep(gallery) for _ in range(3)]
    home.database.write_bytes(content)
    again = Gallery(home)
    assert {picture.id for picture in again.list("me")} == {picture.id for picture in pictures}
    assert [path.read_bytes() for path in home.root.glob("studio.sqlite.damaged-*")] == [content]


def test_many_threads_save_at_once(gallery: Gallery) -> None:
    def work(owner: str) -> None:
        for colour in range(4):
            keep(gallery, owner, colour)

    threads = [threading.Thread(target=work, args=(f"owner{place}",)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(gallery.list(f"owner{place}")) for place in range(4)] == [4] * 4


SAVER = """
import hashlib, pathlib, random, sys
from studio.paths import Home
from studio.services.gallery import Gallery
gallery = Gallery(Home(pathlib.Path(sys.argv[1])).create())
print("ready", flush=True)
while True:
    picture = b"\\x89PNG\\r\\n\\x1a\\n" + random.randbytes(random.randrange(200_000))
    saved = gallery.save("me", picture, model="m", recipe={"a": 1})
    print(saved.id, hashlib.sha256(picture).hexdigest(), flush=True)
"""


def save_until_killed(home: Home, seconds: float) -> dict[str, str]:
    """Acknowledged saves of a process that is killed after a while: id -> sha256."""
    process = subprocess.Popen([sys.executable, "-c", SAVER, str(home.root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    time.sleep(seconds)
    process.kill()
    lines = process.communicate()[0].splitlines(keepends=True)
    return dict(line.split() for line in lines if line.endswith("\n"))


def test_kill_9_loses_no_acknowledged_picture(home: Home) -> None:
    draw = random.Random(5)
    told: dict[str, str] = {}
    for _ in range(4):
        told |= save_until_killed(home, draw.uniform(0.05, 0.25))
    gallery = Gallery(home.create())
    found = {picture.id: gallery.file("me", picture.id).read_bytes() for picture in gallery.list("me", limit=500)}
    assert told and {id: hashlib.sha256(found[id]).hexdigest() for id in told} == told
    assert len(found) - len(told) <= 4
    assert {path.stem for path in home.gallery.iterdir()} == set(found)
