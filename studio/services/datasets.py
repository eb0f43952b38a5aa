"""Uploads and the datasets made of them: the disk is the truth, so a restart loses nothing that had arrived.

uploads/<id>/files/000001    the pictures and zips as they came, under names of ours
uploads/<id>/manifest.jsonl  for each of them the relative path it had, cleaned; only ever shown
uploads/<id>/report.json     the last scan, with sheet.webp beside it
uploads/<id>/became          the ids of the datasets made of it, one a line
uploads/<id>/findings.json   and what else `doctor` keeps of it
datasets/<id>/               prepared datasets
"""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from studio.data.archive import ArchiveLimits
from studio.data.choices import Choices
from studio.data.cuts import Box
from studio.data.doctor import Finding, examine, mended, topics_named
from studio.data.frames import Film
from studio.data.info import SHEET_FILE, DatasetInfo, open_pixels, read_info
from studio.data.labels import clean_label, passed_over
from studio.data.prepare import PrepareSettings, count_squares, prepare, suggest
from studio.data.progress import Cancel, Progress, never, silent
from studio.data.scan import Picture, Scanned, ScanReport, scan
from studio.data.sheets import cell, to_webp
from studio.data.sources import Named
from studio.data.thumbnails import Overview, overview, upload_sheet
from studio.errors import BadInput, Busy, Damaged, NotFound
from studio.options import from_json, to_json
from studio.paths import Home, bring_back, explain_disk, new_id, remove, require_space, safe_name, set_aside, write_file
from studio.services import doctor
from studio.services.jobs import Job, Jobs
from studio.words import counted

_CHUNK_BYTES = 1 << 20
_SPARE_BYTES = 200_000_000
_SHOWN = 500
_DAY_SECONDS = 86_400.0


def _unheard(words: str) -> None:
    """Tells nobody."""


class Readable(Protocol):
    """A binary stream."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""
        ...


Content = bytes | Readable | Iterable[bytes]


@dataclass(frozen=True, kw_only=True)
class UploadLimits:
    """What one upload may hold."""

    files: int = 100_000
    bytes: int = 4_000_000_000
    archive: ArchiveLimits = field(default_factory=ArchiveLimits)


@dataclass(frozen=True, kw_only=True)
class _Arrived:
    """One line of the manifest."""

    file: str
    label: str
    bytes: int


@dataclass
class _Upload:
    """An upload in memory: its folder, what has arrived or is arriving, and whether it is being scanned or prepared."""

    folder: Path
    files: int = 0
    bytes: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    working: threading.Lock = field(default_factory=threading.Lock)
    seen: tuple[int, ScanReport] | None = None

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.jsonl"

    @property
    def report(self) -> Path:
        return self.folder / "report.json"

    @property
    def became(self) -> Path:
        return self.folder / "became"

    def arrived(self) -> list[_Arrived]:
        """The manifest, without a last line that is not complete (yet)."""
        if not self.manifest.exists():
            return []
        lines = self.manifest.read_text("utf-8").split("\n")[:-1]
        return [from_json(_Arrived, json.loads(line)) for line in lines]

    def mend(self) -> None:
        """Cut off a last line that a crash left incomplete; its file was never acknowledged."""
        if self.manifest.exists():
            content = self.manifest.read_bytes()
            if not content.endswith(b"\n"):
                os.truncate(self.manifest, content.rfind(b"\n") + 1)


class Datasets:
    """The data room's service: uploads come in, are scanned and prepared, and become datasets.

    Ids of uploads cannot be guessed. All methods may be called from any thread.
    """

    def __init__(self, home: Home, limits: UploadLimits | None = None, jobs: Jobs | None = None) -> None:
        self.home = home
        self.limits = limits or UploadLimits()
        self.jobs = jobs or Jobs()
        self._lock = threading.Lock()
        self._uploads: dict[str, _Upload] = {}

    # Uploads

    def begin(self) -> str:
        """A new, empty upload; returns its id.

        Raises:
            NoSpace: the disk is nearly full.
        """
        self.home.uploads.mkdir(parents=True, exist_ok=True)
        require_space(self.home.uploads, _SPARE_BYTES)
        upload_id = f"upload-{secrets.token_hex(8)}"
        (self.home.uploads / upload_id / "files").mkdir(parents=True)
        return upload_id

    def add(self, upload_id: str, relative_path: str, content: Content) -> dict[str, int]:
        """Keep one file (a picture, a zip, anything) under a name of ours. Hidden system files are passed over.

        Returns: {"files", "bytes"} of the upload so far.

        Raises:
            NotFound: no such upload. BadInput: too many files or bytes. NoSpace: the disk is full.
        """
        upload = self._upload(upload_id)
        label = clean_label(relative_path)
        if not passed_over(label):
            self._receive(upload, label, content)
        return {"files": upload.files, "bytes": upload.bytes}

    def forget_upload(self, upload_id: str) -> None:
        """Delete the original pictures of an upload; the datasets made of it stay.

        Raises:
            NotFound: no such upload. Busy: it is being scanned or prepared.
        """
        upload = self._upload(upload_id)
        if not upload.working.acquire(blocking=False):
            raise Busy("These pictures are being worked on.", "Wait until it is done, or stop it first.")
        with self._lock:
            self._uploads.pop(upload_id, None)
        remove(upload.folder)

    def sweep_uploads(self, older_than_days: float = 7.0) -> tuple[str, ...]:
        """Delete uploads that became a dataset that still exists, and empty ones, if they are old; returns their ids.

        Pictures that never became a dataset are kept until the artist deletes them.
        """
        swept = []
        newest = time.time() - older_than_days * _DAY_SECONDS
        for folder in _folders(self.home.uploads):
            upload = self._upload(folder.name)
            if folder.stat().st_mtime < newest and (not upload.files or self._is_a_dataset(upload)):
                self.forget_upload(folder.name)
                swept.append(folder.name)
        return tuple(swept)

    # Scanning and preparing

    def scan(
        self,
        upload_id: str,
        progress: Progress = silent,
        cancelled: Cancel = never,
        film: Film | None = None,
        say: Callable[[str], None] = _unheard,
    ) -> dict[str, Any]:
        """Judge every file of an upload; the report as JSON, with suggested settings and the names of its sheets.

        The dataset doctor looks at it, too: `examine` tells what it found.

        Args:
            film: how films among the files are taken apart.
            say: hears what is being done when it is no longer the pictures that are looked at.

        Raises:
            NotFound: no such upload. BadInput: no pictures, or too few. NoSpace. Busy. Cancelled.
        """
        upload = self._upload(upload_id)
        with _Working(upload):
            files = upload.folder / "files"
            named = [Named(path=files / one.file, label=one.label) for one in upload.arrived()]
            scanned = scan(named, progress=progress, cancelled=cancelled, limits=self.limits.archive,
                           name=_source_name(named), film=film, frames=upload.folder / "frames")  # fmt: skip
            report = scanned.report
            say("Looking for what could be mended")
            looks = doctor.looks_of(scanned.vitals, cancelled)
            doctor.write_record(upload.folder, scanned, looks, _findings(scanned, cancelled))
            self._draw_sheet(upload, report, suggest(report), cancelled)
            write_file(upload.report, json.dumps(to_json(report)))
        return {"upload_id": upload_id, **summary(report)}

    def prepare(
        self,
        upload_id: str,
        settings: PrepareSettings,
        title: str = "",
        progress: Progress = silent,
        cancelled: Cancel = never,
    ) -> DatasetInfo:
        """Make a dataset of an upload that was scanned. The original pictures are kept.

        Raises:
            NotFound: no such upload, or it was not scanned. BadInput, NoSpace, Busy, Cancelled.
        """
        upload = self._upload(upload_id)
        with _Working(upload):
            report = _in_kinds(upload, _read_report(upload), settings)
            shown = title or settings.title or report.source
            into = self.home.datasets / new_id(shown)
            info = prepare(report, settings, into, shown, progress, choices=doctor.read_choices(upload.folder),
                           cancelled=cancelled, limits=self.limits.archive)  # fmt: skip
            with open(upload.became, "a", encoding="utf-8") as file:
                file.write(f"{info.id}\n")
        return info

    # The dataset doctor

    def examine(self, upload_id: str) -> tuple[Finding, ...]:
        """What the doctor found when the upload was scanned, the weightiest first; nothing before.

        Raises:
            NotFound: no such upload. Damaged: the findings cannot be read.
        """
        return doctor.read_findings(self._upload(upload_id).folder)

    def choices(self, upload_id: str) -> Choices:
        """Which pictures of an upload are left out, and the squares that were drawn by hand. Raises as `examine`."""
        return doctor.read_choices(self._upload(upload_id).folder)

    def leave_out(self, upload_id: str, ids: Iterable[str]) -> Choices:
        """Do not use these pictures; `take_back` undoes it. Their files stay.

        Raises:
            NotFound: no such upload, it was not scanned, or it has no such picture.
        """
        self._require_pictures(upload_id, ids := tuple(ids))
        return self._choose(upload_id, lambda choices: choices.without(ids))

    def take_back(self, upload_id: str, ids: Iterable[str]) -> Choices:
        """Use these pictures again. Raises as `leave_out`."""
        self._require_pictures(upload_id, ids := tuple(ids))
        return self._choose(upload_id, lambda choices: choices.again_with(ids))

    def crop(self, upload_id: str, id: str, square: Box | None) -> Choices:
        """Use this part (as shares of width and height) of one picture; None gives it back to the settings.

        Raises:
            NotFound: as in `leave_out`. BadInput: a part outside the picture, or hardly any of it.
        """
        self._require_pictures(upload_id, (id,))
        return self._choose(upload_id, lambda choices: choices.cropped(id, square))

    def count(self, upload_id: str, settings: PrepareSettings) -> int:
        """How many pictures the dataset would have. Raises NotFound if the upload was not scanned."""
        upload = self._upload(upload_id)
        return count_squares(self._report(upload), settings, doctor.read_choices(upload.folder))

    def pictures(self, upload_id: str) -> tuple[Picture, ...]:
        """The good pictures of a scanned upload, by label. Raises NotFound if it was not scanned."""
        return self._report(self._upload(upload_id)).pictures

    def report(self, upload_id: str) -> dict[str, Any] | None:
        """What `scan` answered last; None before. Raises NotFound if there is no such upload."""
        upload = self._upload(upload_id)
        return {"upload_id": upload_id, **summary(self._report(upload))} if upload.report.exists() else None

    def thumb(self, upload_id: str, id: str, *, large: bool = False) -> Path:
        """A WebP of one picture: of at most 144 px, or 720.

        Raises:
            NotFound: no such upload or picture. BadInput: the picture cannot be opened any more.
        """
        upload = self._upload(upload_id)
        if not large:
            return _existing(upload.folder / "thumbs" / f"{safe_name(id)}.webp", "thumbnail")
        picture = next((one for one in self._report(upload).pictures if one.id == id), None)
        if picture is None:
            raise NotFound("There is no such picture in this upload.", "Scan the pictures again.")
        return doctor.draw_large(upload.folder, picture, self.limits.archive)

    def _draw_sheet(
        self, upload: _Upload, report: ScanReport, settings: PrepareSettings, cancelled: Cancel = never
    ) -> Overview:
        choices = doctor.read_choices(upload.folder)
        sheet = upload_sheet(report, settings, choices, cancelled=cancelled, limits=self.limits.archive)
        write_file(upload.folder / SHEET_FILE, sheet)
        return overview(report, settings, choices)

    def _choose(self, upload_id: str, change: Callable[[Choices], Choices]) -> Choices:
        upload = self._upload(upload_id)
        with upload.lock:
            choices = change(doctor.read_choices(upload.folder))
            doctor.write_choices(upload.folder, choices)
        return choices

    def _require_pictures(self, upload_id: str, ids: tuple[str, ...]) -> None:
        if set(ids) - {picture.id for picture in self.pictures(upload_id)}:
            raise NotFound("There is no such picture in this upload.", "Scan the pictures again.")

    def _report(self, upload: _Upload) -> ScanReport:
        """The last scan, read once."""
        changed = upload.report.stat().st_mtime_ns if upload.report.exists() else 0
        seen = upload.seen
        if seen is None or seen[0] != changed:
            upload.seen = seen = (changed, _read_report(upload))
        return seen[1]

    # Preparing where it lies

    def prepare_here(
        self,
        source: Path,
        changes: Mapping[str, Any],
        title: str = "",
        mend: Iterable[str] = (),
        *,
        tell: Callable[[str], None],
    ) -> DatasetInfo:
        """Make a dataset of a folder or a zip where it lies, as the command line does; `tell` hears what was found.

        Args:
            mend: topics of findings that are mended, as a click on the page does, or "all".

        Raises:
            BadInput: no pictures, too few, settings that do not fit them, or no such topic. NoSpace.
        """
        report, settings, choices = self.look(source, changes, mend, tell=tell)
        shown = title or settings.title or report.source
        info = prepare(report, settings, self.home.datasets / new_id(shown), shown, choices=choices,
                       limits=self.limits.archive)  # fmt: skip
        classes = f" in {counted(len(info.labels), 'class', 'classes')}" if info.labels else ""
        tell(f"Prepared {counted(info.count, 'picture')}{classes} at {info.resolution} px.")
        return info

    def look(
        self, source: Path, changes: Mapping[str, Any], mend: Iterable[str] = (), *, tell: Callable[[str], None]
    ) -> tuple[ScanReport, PrepareSettings, Choices]:
        """Judge a folder, a zip or a film where it lies; the report, the suggested settings with what is mended and
        with `changes`, and what is left out.

        `tell` hears what the dataset doctor found, too. Raises as `prepare_here`.
        """
        topics = topics_named(mend)
        film = PrepareSettings(**changes).film
        scanned = scan(source, limits=self.limits.archive, film=film, frames=self.home.cache / "frames")
        report = scanned.report
        tell(f"{len(report.pictures):,} pictures, {report.smallest} to {report.largest} px (shorter side).")
        for refusal in report.refused:
            tell(f"  left out: {refusal.file}: {refusal.reason}")
        for warning in report.warnings:
            tell(warning)
        findings = _findings(scanned, never)
        choices, mends = mended(findings, topics)
        settings = replace(suggest(report), **{**mends, **changes})
        for line in doctor.told(findings, report.pictures, settings, choices):
            tell(line)
        if settings.kinds:
            report = doctor.in_kinds(report, settings, doctor.looks_of(scanned.vitals))
        return report, settings, choices

    def start_scan(self, upload_id: str, film: Film | None = None) -> str:
        """`scan` in the background; returns the id of its job, whose result is the report. While the same look is under
        way, that is its job."""
        self._upload(upload_id)

        def work(job: Job) -> dict[str, Any]:
            job.stage("scan", "Looking at your pictures")
            return self.scan(upload_id, job.progress, job.cancelled, film, lambda words: job.stage("doctor", words))

        return self.jobs.start_once(f"scan of {upload_id} {film}", work)

    def draw_sheet(self, upload_id: str, settings: PrepareSettings) -> Overview:
        """Draw the overview of a scanned upload anew, with these settings and what the artist chose; answers what it
        shows. Raises NotFound if it was not scanned."""
        upload = self._upload(upload_id)
        return self._draw_sheet(upload, _in_kinds(upload, self._report(upload), settings), settings)

    def sheet(self, upload_id: str) -> Path:
        """The overview of a scanned upload. Raises NotFound before that."""
        return _existing(self._upload(upload_id).folder / SHEET_FILE, "overview")

    # Datasets

    def list(self) -> tuple[DatasetInfo, ...]:
        """All datasets that can be read, newest first."""
        found = []
        for folder in _folders(self.home.datasets):
            try:
                found.append(self._info(folder))
            except (Damaged, NotFound):
                continue
        return tuple(sorted(found, key=lambda info: (info.created, info.id), reverse=True))

    def folder(self, dataset_id: str) -> Path:
        """The folder of a dataset.

        Raises:
            BadInput: not a name of ours. NotFound: no such dataset.
        """
        folder = self.home.datasets / safe_name(dataset_id)
        if not folder.is_dir():
            raise NotFound(f"There is no dataset {dataset_id!r}.", "Choose one from the list.")
        return folder

    def info(self, dataset_id: str) -> DatasetInfo:
        """What a dataset says of itself.

        Raises:
            NotFound: no such dataset. Damaged: it cannot be read.
        """
        return self._info(self.folder(dataset_id))

    def picture(self, dataset_id: str, place: int, side_px: int = 0) -> bytes:
        """One picture of a dataset by its place, from 0: a WebP of `side_px`, or as large as it is (0).

        Raises:
            NotFound: no such dataset or place. Damaged: its pixels cannot be read.
        """
        folder = self.folder(dataset_id)
        info = self._info(folder)
        if not 0 <= place < info.count:
            raise NotFound("There is no such picture in this dataset.", "Choose another one.")
        return to_webp(cell(open_pixels(folder, info)[place], side_px or info.resolution))

    def delete(self, dataset_id: str) -> None:
        """Delete a dataset; `restore` undoes it. The upload that it was made of stays.

        Raises:
            NotFound: no such dataset.
        """
        set_aside(self.folder(dataset_id))

    def restore(self, dataset_id: str) -> None:
        """Undo `delete`. Raises NotFound if it is not kept any more."""
        bring_back(self.home.datasets / safe_name(dataset_id))

    # Inside

    def _info(self, folder: Path) -> DatasetInfo:
        return replace(read_info(folder), id=folder.name)

    def _upload(self, upload_id: str) -> _Upload:
        folder = self.home.uploads / safe_name(upload_id)
        if not folder.is_dir():
            raise NotFound("There is no such upload any more.", "Choose the pictures again.")
        with self._lock:
            if upload_id not in self._uploads:
                upload = _Upload(folder=folder)
                upload.mend()
                arrived = upload.arrived()
                upload.files, upload.bytes = len(arrived), sum(one.bytes for one in arrived)
                self._uploads[upload_id] = upload
            return self._uploads[upload_id]

    def _receive(self, upload: _Upload, label: str, content: Content) -> None:
        with upload.lock:
            if upload.files >= self.limits.files:
                raise BadInput(f"These are more than {self.limits.files:,} files.", "Choose a smaller folder.")
            upload.files += 1
        file = upload.folder / "files" / secrets.token_hex(10)
        size = 0
        try:
            with open(file, "wb") as target:
                for chunk in _chunks(content):
                    self._admit(upload, len(chunk))
                    size += len(chunk)
                    target.write(chunk)
            line = json.dumps(to_json(_Arrived(file=file.name, label=label, bytes=size)))
            with upload.lock, open(upload.manifest, "a", encoding="utf-8") as manifest:
                manifest.write(f"{line}\n")
        except BaseException as error:
            file.unlink(missing_ok=True)
            with upload.lock:
                upload.files -= 1
                upload.bytes -= size
            if isinstance(error, OSError):
                raise explain_disk(error, Path(label)) from error
            raise

    def _admit(self, upload: _Upload, size: int) -> None:
        """Count bytes before they are written, or refuse them."""
        require_space(upload.folder, size + _SPARE_BYTES)
        with upload.lock:
            if upload.bytes + size > self.limits.bytes:
                raise BadInput(f"This is more than {self.limits.bytes / 1e9:g} GB.", "Choose fewer pictures.")
            upload.bytes += size

    def _is_a_dataset(self, upload: _Upload) -> bool:
        made = upload.became.read_text("utf-8").split() if upload.became.exists() else []
        return any((self.home.datasets / safe_name(name)).is_dir() for name in made)


class _Working:
    """Holds an upload while it is scanned or prepared; a second one at the same time is refused."""

    def __init__(self, upload: _Upload) -> None:
        self._upload = upload

    def __enter__(self) -> None:
        if not self._upload.working.acquire(blocking=False):
            raise Busy("These pictures are already being worked on.", "Wait until it is done, or stop it first.")

    def __exit__(self, *_: object) -> None:
        self._upload.working.release()


def summary(report: ScanReport) -> dict[str, Any]:
    """What the page shows of a report, as JSON: no path of this machine, and long lists cut to their first 500."""
    shown, suggested = to_json(report), suggest(report)
    del shown["pictures"]
    return {
        **shown,
        "count": len(report.pictures),
        "refused": to_json(report.refused[:_SHOWN]),
        "refused_count": len(report.refused),
        "classes": [{"name": name, "count": n} for name, n in zip(report.classes, report.counts, strict=True)],
        "duplicates": to_json(report.duplicates[:_SHOWN]),
        "duplicates_count": sum(len(group) - 1 for group in report.duplicates),
        "near_duplicates": to_json(report.near_duplicates[:_SHOWN]),
        "sheet": SHEET_FILE,
        "overview": to_json(overview(report, suggested)),
        "suggested": to_json(suggested),
    }


def _read_report(upload: _Upload) -> ScanReport:
    """The last scan. Paths are made anew, so that a home that was moved still works and none leads outside."""
    if not upload.report.exists():
        raise NotFound("These pictures were not looked at yet.", "Scan them first.")
    try:
        report = from_json(ScanReport, json.loads(upload.report.read_text("utf-8")))
    except (BadInput, ValueError) as error:
        raise Damaged("The report on these pictures cannot be read.", "Scan them again.") from error
    moved = (
        replace(picture, place=replace(picture.place, path=str(_here(upload, Path(picture.place.path)))))
        for picture in report.pictures
    )
    return replace(report, pictures=tuple(moved))


def _here(upload: _Upload, path: Path) -> Path:
    return upload.folder / ("frames" if path.parent.name == "frames" else "files") / path.name


def _findings(scanned: Scanned, cancelled: Cancel) -> tuple[Finding, ...]:
    return examine(scanned, doctor.features_of(scanned.vitals, cancelled))


def _in_kinds(upload: _Upload, report: ScanReport, settings: PrepareSettings) -> ScanReport:
    """The report of an upload, in the kinds that the settings ask for."""
    return doctor.in_kinds(report, settings, doctor.read_looks(upload.folder)) if settings.kinds else report


def _source_name(named: list[Named]) -> str:
    """The folder that all files share, or the name of a single zip; else "My pictures"."""
    tops = {one.label.split("/")[0] for one in named}
    top = tops.pop() if len(tops) == 1 else ""
    return (top.rpartition(".")[0] or top) if top else "My pictures"


def _chunks(content: Content) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
    elif isinstance(content, Iterable) and not hasattr(content, "read"):
        yield from content
    else:
        while chunk := content.read(_CHUNK_BYTES):
            yield chunk


def _existing(file: Path, what: str) -> Path:
    if not file.is_file():
        raise NotFound(f"There is no {what} of it.", "Scan or prepare the pictures again.")
    return file


def _folders(parent: Path) -> list[Path]:
    if not parent.is_dir():
        return []
    return sorted(folder for folder in parent.iterdir() if folder.is_dir() and not folder.name.startswith("."))
