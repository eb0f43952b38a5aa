"""Models that come from elsewhere: a file or a folder that was sent, a path, or a repository on the Hub.

An import is looked at first (what is it, and which readings of it are possible, each drawn), then kept: written once in
our own format, with where it came from on its card. Nothing in a foreign file is ever run; a child process reads it.

cache/imports/<id>/files/     what was sent, below names of ours
cache/imports/<id>/unpacked/  what a zip held
cache/imports/<id>/found-…/   what the reading child wrote, and the sheets that were drawn of it
cache/hub/<repository>/       what was downloaded; a cancelled download goes on from here
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from studio.errors import BadInput, Busy, NotFound, StudioError
from studio.families.base import FAMILIES, settings_from
from studio.options import to_json
from studio.paths import (
    Home,
    explain_disk,
    put_in_place,
    require_space,
    safe_name,
    temporary_beside,
    write_file,
)
from studio.services import incoming
from studio.services.engine import Engine
from studio.services.jobs import Job, Jobs, JobStatus
from studio.weights import hub
from studio.weights.card import (
    DISCRIMINATOR_FILE,
    PREVIEW_FILE,
    WEIGHTS_FILE,
    ModelCard,
    read_card,
    write_card,
)
from studio.weights.shelf import Shelf

if TYPE_CHECKING:
    from torch import nn

    from studio.families.base import Generator
    from studio.weights.foreign.opening import Found

PICTURES = 6
COLUMNS = 3
LICENCES = (
    "CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "Apache-2.0", "MIT", "BSD-3-Clause",
    "GPL-3.0", "OpenRAIL", "NVIDIA Source Code License",
)  # fmt: skip
UNKNOWN_LICENCE = "unknown"

_ARGUMENT_CHARACTERS = 18_000
_PATIENCE_SECONDS = 15.0
_ASK_SECONDS = 0.25
_KEEP_SENT_SECONDS = 86_400.0
_KEEP_DOWNLOADED_SECONDS = 7 * 86_400.0


@dataclass(frozen=True, kw_only=True)
class About:
    """What the artist says of a model, or its repository does. "" is not known."""

    title: str = ""
    licence: str = ""
    author: str = ""
    trained_on: str = ""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What an import turned out to be.

    Attributes:
        id: of the import.
        format: for people.
        size_bytes: of the file of weights.
        warnings: sentences that the artist should read.
        candidates: the ways to read it, the best guess first; there is a sheet of pictures for each.
        choices: the weight files of a folder, the best guess first; empty where there is only one.
        choice: which of them this is.
        learns: whether training can go on from it.
        about: what is known already, for the artist to correct.
        licences: the usual ones.
    """

    id: str
    format: str
    family: str
    family_title: str
    resolution: int
    channels: int
    file_name: str
    size_bytes: int
    classes: tuple[str, ...] = ()
    kimg: float = 0.0
    warnings: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    choice: str = ""
    learns: bool = False
    about: About = field(default_factory=About)
    licences: tuple[str, ...] = LICENCES


@dataclass
class _Import:
    """One import under way."""

    id: str
    folder: Path
    source: Path
    about: About = field(default_factory=About)
    listing: hub.Listing | None = None
    bytes: int = 0
    files: int = 0
    found: Found | None = None
    own: Path | None = None
    room: Path = Path()
    look: Look | None = None
    forgotten: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def unpacked(self) -> Path:
        return self.folder / "unpacked"

    def sheet(self, candidate: int) -> Path:
        """The drawn sheet of one way to read it."""
        return self.room / f"sheet-{candidate}.webp"


class Imports:
    """Brings models onto the shelf. Ids of imports cannot be guessed; all methods may be called from any thread.

    Args:
        most_bytes: of one import, as it is sent and as it is unpacked.
    """

    def __init__(self, home: Home, shelf: Shelf, engine: Engine, jobs: Jobs, most_bytes: int = 4 << 30) -> None:
        self._folder = home.cache / "imports"
        self._downloads = home.cache / "hub"
        self._shelf = shelf
        self._engine = engine
        self._jobs = jobs
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._imports: dict[str, _Import] = {}

    # ── beginning and ending ──

    def begin(self) -> str:
        """A new import that waits for files; returns its id. Raises NoSpace."""
        return self._begin().id

    def open_path(self, text: str) -> str:
        """An import of a file or a folder of this machine, where it lies.

        Raises:
            NotFound: there is nothing of that name. BadInput: it is no ordinary file or folder, or may not be read.
        """
        source = incoming.path_of(text)
        if not source.is_absolute() or not incoming.exists(source):
            raise NotFound(
                f"There is no file or folder {text[:200]!r} on this machine.", "Give its whole path, from the root."
            )
        incoming.require_readable(source)
        one = self._begin()
        one.source = source
        return one.id

    def forget(self, import_id: str) -> None:
        """Delete what was sent for an import; what was downloaded stays a week, so that it can go on. Never fails."""
        with self._lock:
            one = self._imports.pop(import_id, None)
        if one is None:
            return
        one.forgotten = True
        if one.lock.acquire(blocking=False):
            one.lock.release()
            incoming.clear(one.folder)

    def sweep(self) -> None:
        """Delete what imports of yesterday, and downloads of a week ago, left behind."""
        for place, seconds in ((self._folder, _KEEP_SENT_SECONDS), (self._downloads, _KEEP_DOWNLOADED_SECONDS)):
            for folder in place.iterdir() if place.is_dir() else ():
                if time.time() - folder.stat().st_mtime > seconds and folder.name not in self._imports:
                    incoming.clear(folder)

    @contextmanager
    def receive(self, import_id: str, relative_path: str) -> Iterator[Callable[[bytes], None]]:
        """Take one file of an import, in pieces given to the function that this yields; a part of one is not kept.

        Raises:
            NotFound: no such import. BadInput: too many files or bytes. NoSpace: the disk is full.
        """
        one = self._import(import_id)
        with self._lock:
            if one.files >= incoming.MOST_FILES:
                raise BadInput(f"These are more than {incoming.MOST_FILES:,} files.", "Drop the model's folder only.")
            one.files += 1
            place = incoming.place(one.folder / "files", relative_path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
        before = one.bytes
        try:
            with open(place, "wb") as target:
                yield lambda chunk: self._write(one, target, chunk)
        except BaseException as error:
            place.unlink(missing_ok=True)
            with self._lock:
                one.files, one.bytes = one.files - 1, before
            if isinstance(error, OSError) and one.forgotten:
                raise _over() from error
            if isinstance(error, OSError):
                raise explain_disk(error, place) from error
            raise

    def _write(self, one: _Import, target: IO[bytes], chunk: bytes) -> None:
        with self._lock:
            one.bytes += len(chunk)
            if one.bytes > self._most_bytes:
                raise self._too_big()
        if one.forgotten:
            raise _over()
        require_space(one.folder, len(chunk) + incoming.SPARE_BYTES)
        target.write(chunk)

    def _too_big(self) -> BadInput:
        return BadInput(f"This is more than {self._most_bytes / 1e9:.1f} GB.", "Drop the file of the generator only.")

    # ── the Hub ──

    def start_listing(self, text: str, revision: str = "") -> str:
        """Ask the Hub what a repository holds, in the background; the job's result is a listing with an import's id.

        Raises:
            BadInput: not an address.
        """
        address = hub.parse_address(text, revision)

        def work(job: Job) -> dict[str, Any]:
            job.stage("asking", f"Asking the Hub about {address.repository}")
            listing = hub.look(address)
            job.stop_if_cancelled()
            return self._listed(listing)

        return self._jobs.start(work)

    def _listed(self, listing: hub.Listing) -> dict[str, Any]:
        one = self._begin()
        one.listing = listing
        one.source = self._downloads / hub.folder_name(listing)
        one.about = About(
            title=listing.title, licence=listing.licence, author=listing.author, trained_on=listing.trained_on
        )
        return {"id": one.id, **to_json(listing)}

    def start_download(self, import_id: str, weights: tuple[str, ...] = ()) -> str:
        """Download what was listed, or other weights of it, and look at it; the job's result is a `Look`.

        Raises:
            NotFound: nothing was listed. BadInput: no such weights.
        """
        one = self._import(import_id)
        if one.listing is None:
            raise NotFound("The Hub was not asked yet.", "Look at the repository first.")
        listing, files = one.listing, one.listing.chosen(weights)

        def work(job: Job) -> Look:
            with self._working(one):
                job.stage("downloading", "Downloading", sum(file.size_bytes for file in files))
                hub.download(listing, files, one.source, progress=job.progress, cancelled=job.cancelled)
                job.stop_if_cancelled()
                named = next(file.path for file in files if file.kind == "weights")
                return self._look(one, job, named if len(weights) == 1 else "")

        return self._jobs.start(work)

    # ── looking ──

    def start_look(self, import_id: str, choice: str = "") -> str:
        """Find out what an import is, and draw every way to read it; the job's result is a `Look`.

        Args:
            choice: which weight file of a folder; "" is the best guess.

        Raises:
            NotFound: no such import.
        """
        one = self._import(import_id)

        def work(job: Job) -> Look:
            with self._working(one):
                return self._look(one, job, choice)

        return self._jobs.start(work)

    def sheet(self, import_id: str, candidate: int) -> Path:
        """The drawn sheet of one way to read an import, a WebP file. Raises NotFound."""
        path = self._import(import_id).sheet(candidate)
        if not path.is_file():
            raise NotFound("There is no such sheet.", "Look at the model again.")
        return path

    def contact_sheet(self, import_id: str) -> bytes:
        """The sheets of all ways to read it, one below the other in the order of the candidates, as one PNG."""
        import numpy as np
        from PIL import Image

        from studio.media.sheets import grid
        from studio.media.stills import to_png

        look = self._import(import_id).look
        sheets = []
        for number in range(len(look.candidates) if look else 0):
            with Image.open(self.sheet(import_id, number)) as picture:
                colour = "RGBA" if picture.mode == "RGBA" else "RGB"
                sheets.append(np.asarray(picture.convert(colour)))
        if not sheets:
            raise NotFound("This model was not looked at yet.", "Look at it first.")
        return to_png(grid(sheets, columns=1, gap=8), None)

    def _look(self, one: _Import, job: Job, choice: str) -> Look:
        job.stage("reading", "Reading the weights")
        source = incoming.opened(one.source, one.unpacked, self._most_bytes)
        before = one.found, one.own, one.room
        one.found, one.own, one.room = None, incoming.own_folder(source), one.folder / f"found-{secrets.token_hex(4)}"
        one.room.mkdir()
        try:
            look = self._look_at_own(one, job, one.own) if one.own else self._look_at_foreign(one, job, source, choice)
        except BaseException:  # what was looked at before can still be kept
            incoming.clear(one.room)
            one.found, one.own, one.room = before
            raise
        if one.look is not None:
            incoming.clear(before[2])
        one.look = look
        return look

    def _look_at_own(self, one: _Import, job: Job, folder: Path) -> Look:
        from studio.weights.store import load_discriminator, load_generator

        generator, card = load_generator(folder)
        load_discriminator(folder)  # a damaged one is refused
        job.stage("drawing", "Drawing some pictures", PICTURES)
        self._draw(generator, one.sheet(0), job, 0)
        return Look(
            id=one.id,
            format="A model of Latent Studio",
            family=card.family,
            family_title=FAMILIES[card.family].title,
            resolution=card.resolution,
            channels=card.channels,
            classes=card.classes,
            kimg=card.kimg,
            file_name=WEIGHTS_FILE,
            size_bytes=(folder / WEIGHTS_FILE).stat().st_size,
            candidates=("As it was saved",),
            warnings=self._already(card.sha256),
            learns=_trains(card.family, card.settings),
            about=About(
                title=self._free_title(card.title),
                licence=card.licence or one.about.licence,
                author=card.author or one.about.author,
                trained_on=card.trained_on,
            ),
        )

    def _look_at_foreign(self, one: _Import, job: Job, source: Path, choice: str) -> Look:
        from studio.weights.foreign import opening

        choices = opening.choices(source) if source.is_dir() else ()
        if choice and choice not in choices:
            raise NotFound(f"There are no weights {choice[:80]!r} in this folder.", "Choose one of the list.")
        chosen = choice or (choices[0] if choices else "")
        file = source / chosen if chosen else source
        found = opening.inspect(file, one.room, cancelled=job.cancelled)
        job.stop_if_cancelled()
        one.found = found
        generator = self._draw_candidates(one, found, job)
        title = FAMILIES[found.family].title
        return Look(
            id=one.id,
            format=found.format,
            family=found.family,
            family_title=title,
            resolution=generator.resolution,
            channels=generator.channels,
            classes=found.classes,
            kimg=found.kimg,
            file_name=found.file_name,
            size_bytes=file.stat().st_size if file.is_file() else 0,
            warnings=(*found.warnings, *self._already(found.sha256)),
            candidates=tuple(candidate.title for candidate in found.candidates),
            choices=choices if len(choices) > 1 else (),
            choice=chosen if len(choices) > 1 else "",
            learns=_trains(found.family, found.candidates[0].settings),
            about=self._about(one, source, file, f"{title}, {generator.resolution} px"),
        )

    def _draw_candidates(self, one: _Import, found: Found, job: Job) -> Generator:
        """A sheet for every way to read it; returns the first network."""
        from studio.weights.foreign import opening

        first: Any = None
        job.stage("drawing", "Drawing some pictures", PICTURES * len(found.candidates))
        for number in range(len(found.candidates)):
            generator, _ = opening.build(found, number)
            self._draw(generator, one.sheet(number), job, PICTURES * number)
            first = first or generator
        network: Generator = first
        return network

    def _draw(self, generator: nn.Module, path: Path, job: Job, before: int) -> None:
        """A sheet of pictures, drawn one at a time in the engine's thread, so that play goes on meanwhile."""
        import torch

        from studio.training import sheet

        drawn = []
        for seed in range(PICTURES):
            job.stop_if_cancelled()
            drawn.append(self._engine.submit(sheet.draw, generator, (seed,), torch.device("cpu")).result())
            job.progress(before + seed + 1, max(job.status().total, before + PICTURES))
        write_file(path, sheet.encode(torch.cat(drawn), columns=COLUMNS))

    def _about(self, one: _Import, source: Path, file: Path, otherwise: str) -> About:
        """What is known without the artist: from the Hub, from a README beside the weights, from names."""
        title = one.about.title or incoming.title_of(source, file) or otherwise
        licence = one.about.licence or incoming.licence_beside(file)
        return replace(one.about, title=self._free_title(title), licence=licence)

    def _already(self, sha256: str) -> tuple[str, ...]:
        """A warning if the shelf has this file."""
        for entry in self._shelf.list():
            if entry.card and sha256 and sha256 in (entry.card.source.get("sha256"), entry.card.sha256):
                return (f"This file is on the shelf already, as {entry.title}.",)
        return ()

    def _free_title(self, title: str) -> str:
        taken = {entry.title.casefold() for entry in self._shelf.list()}
        names = (title if number == 1 else f"{title} {number}" for number in range(1, len(taken) + 2))
        return next(name for name in names if name.casefold() not in taken)

    # ── keeping ──

    def start_keep(self, import_id: str, about: About, candidate: int = 0) -> str:
        """Write what was looked at onto the shelf, in the background; the job's result is the model's id.

        Args:
            candidate: the number of the reading that the artist picked.

        Raises:
            NotFound: it was not looked at. BadInput: no title, one that is taken, no licence named, no such candidate.
        """
        one = self._import(import_id)
        look = one.look
        if look is None:
            raise NotFound("This model was not looked at yet.", "Look at it first.")
        about = self._checked(about)
        if not 0 <= candidate < len(look.candidates):
            raise BadInput(f"There is no reading {candidate} of this model.", "Choose one of the list.")

        def work(job: Job) -> str:
            with self._working(one):
                job.stage("saving", "Putting it on the shelf")
                self._require_free(about.title)
                folder = self._shelf.place_for(about.title)
                (self._save_own if one.own else self._save_foreign)(one, folder, about, candidate)
            self.forget(one.id)
            if one.listing is not None:
                incoming.clear(one.source)
            return folder.name

        return self._jobs.start(work)

    def _checked(self, about: About) -> About:
        about = About(**{name: " ".join(text.split())[:2_000] for name, text in to_json(about).items()})
        if not 1 <= len(about.title) <= 120:
            raise BadInput("A model needs a name of 1 to 120 characters.", "Give it one.")
        if not about.licence:
            raise BadInput(
                "The licence is not named.",
                f"Say under which one it came; if you do not know, say {UNKNOWN_LICENCE!r}.",
            )
        self._require_free(about.title)
        return about

    def _require_free(self, title: str) -> None:
        if self._free_title(title) != title:
            raise BadInput(f"There is a model called {title} on the shelf.", "Give this one another name.")

    def _save_foreign(self, one: _Import, folder: Path, about: About, candidate: int) -> None:
        from studio.weights.foreign import opening
        from studio.weights.store import save_model

        found = one.found
        assert found is not None and one.look is not None
        generator, discriminator = opening.build(found, candidate)
        settings = settings_from(found.family, found.candidates[candidate].settings)
        card = ModelCard(
            id=folder.name,
            family=found.family,
            settings=to_json(settings),
            resolution=settings.resolution,
            channels=settings.channels,
            classes=found.classes,
            kimg=found.kimg,
            origin=f"Imported from {found.file_name}: {found.format}{_from_hub(one)}.",
            summary=_summary(about),
            created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            source=_source(one, found, candidate),
            **to_json(about),
        )
        save_model(
            folder, generator, card, discriminator=discriminator, preview=one.sheet(candidate).read_bytes(), half=False
        )

    def _save_own(self, one: _Import, folder: Path, about: About, candidate: int) -> None:
        """Copy a folder of ours. What is checked is the copy."""
        from studio.weights.store import load_discriminator, load_generator

        assert one.own is not None
        card = read_card(one.own)
        preview = one.sheet(candidate).read_bytes()
        kept = [name for name in (WEIGHTS_FILE, DISCRIMINATOR_FILE) if name in card.files]
        files = {name: card.files[name] for name in kept} | {PREVIEW_FILE: hashlib.sha256(preview).hexdigest()}
        source = {"format": "A model of Latent Studio", "sha256": card.sha256, **card.source, **_hub_source(one)}
        temporary = temporary_beside(folder)
        temporary.mkdir()
        try:
            for name in kept:
                shutil.copyfile(one.own / name, temporary / name)
            write_file(temporary / PREVIEW_FILE, preview)
            write_card(temporary, replace(card, id=folder.name, files=files, source=source, **to_json(about)))
            load_generator(temporary)
            load_discriminator(temporary)
            put_in_place(temporary, folder)
        except OSError as error:
            raise explain_disk(error, folder) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    # ── the same at once, for the command line and for scripts ──

    def look_now(
        self,
        source: str,
        *,
        import_id: str = "",
        choice: str = "",
        revision: str = "",
        tell: Callable[[JobStatus], None] = lambda status: None,
    ) -> Look:
        """Look at a path of this machine, at a repository of the Hub (downloading it), or at what `import_id` was sent.

        Args:
            tell: hears how far it is, a few times a second.

        Raises:
            NotFound: neither a path nor an address. All that looking and downloading raise.
        """
        if not import_id and incoming.exists(incoming.path_of(source)):
            import_id = self.open_path(str(incoming.path_of(source).resolve()))
        elif not import_id and (not hub.is_address(source) or Path(source).suffix.lower() in hub.WEIGHT_SUFFIXES):
            raise NotFound(f"There is no file or folder {source[:200]!r}.", "Give a path, or owner/name on the Hub.")
        try:
            if import_id:
                self._ended(self.start_look(import_id, choice), tell)
            else:
                import_id = self._ended(self.start_listing(source, revision), tell)["id"]
                self._ended(self.start_download(import_id, (choice,) if choice else ()), tell)
        except BaseException:
            self.forget(import_id)
            raise
        look = self._import(import_id).look
        assert look is not None
        return look

    def keep_now(self, import_id: str, about: About, candidate: int = 0) -> str:
        """Put it on the shelf and return the model's id. Raises as `start_keep` does."""
        return str(self._ended(self.start_keep(import_id, about, candidate)))

    def _ended(self, job_id: str, tell: Callable[[JobStatus], None] = lambda status: None) -> Any:
        try:
            while (status := JobStatus(**self._jobs.wait(job_id, _ASK_SECONDS))).state == "running":
                tell(status)
        except BaseException:
            self._jobs.cancel(job_id)
            raise
        if status.state != "done":
            raise StudioError(status.error or "It was cancelled.", status.hint)
        return status.result

    # ── inside ──

    def _begin(self) -> _Import:
        import_id = f"import-{secrets.token_hex(8)}"
        folder = self._folder / import_id
        folder.mkdir(parents=True)
        require_space(folder, incoming.SPARE_BYTES)
        one = _Import(id=import_id, folder=folder, source=folder / "files")
        with self._lock:
            self._imports[import_id] = one
        return one

    def _import(self, import_id: str) -> _Import:
        with self._lock:
            one = self._imports.get(safe_name(import_id))
        if one is None:
            raise _over()
        return one

    @contextmanager
    def _working(self, one: _Import) -> Iterator[None]:
        if not one.lock.acquire(timeout=_PATIENCE_SECONDS):
            raise Busy("This model is being worked on.", "Wait a moment, or cancel that first.")
        try:
            yield
        finally:
            one.lock.release()
            if one.forgotten:
                incoming.clear(one.folder)


def _over() -> NotFound:
    return NotFound("This import is over.", "Bring the model again.")


# ── what the card says ──


def _trains(family: str, settings: dict[str, Any]) -> bool:
    return FAMILIES[family].trains and settings_from(family, settings).trains


def _summary(about: About) -> str:
    return f"Trained on {about.trained_on}." if about.trained_on else "Imported; what it was trained on is not known."


def _from_hub(one: _Import) -> str:
    return f", from {one.listing.repository} on the Hugging Face Hub" if one.listing else ""


def _hub_source(one: _Import) -> dict[str, str]:
    return {"hub": one.listing.repository, "revision": one.listing.revision} if one.listing else {}


def _source(one: _Import, found: Found, candidate: int) -> dict[str, str]:
    """What the card keeps of where a model came from; arguments that are too long are left out."""
    arguments = json.dumps(found.arguments, ensure_ascii=False, sort_keys=True)
    named = {"file": found.file_name[:200], "sha256": found.sha256, "format": found.format}
    if len(found.candidates) > 1:
        named["read_as"] = found.candidates[candidate].title
    if found.arguments and len(arguments) <= _ARGUMENT_CHARACTERS:
        named["arguments"] = arguments
    return {**named, **_hub_source(one)}
