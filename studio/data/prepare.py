"""From a scan report to a prepared dataset: squares of one size, in one file, without any metadata."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np

from studio.data.archive import ArchiveLimits
from studio.data.choices import Choices
from studio.data.cuts import WHOLE, Cut, gentle_gamma, inside_border, tiles
from studio.data.frames import Film
from studio.data.glovebox import Glovebox
from studio.data.info import (
    INFO_FILE,
    LABELS_FILE,
    PIXELS_FILE,
    SHEET_FILE,
    DatasetInfo,
    open_labels,
    open_pixels,
    read_info,
    write_info_text,
)
from studio.data.inside import Reply
from studio.data.progress import Cancel, Progress, never, silent
from studio.data.scan import FEWEST, Picture, ScanReport
from studio.data.sheets import SHEET_PICTURES, cell, contact_sheet, spread
from studio.data.sources import MAX_FILES, Reader, Refusal
from studio.data.squares import Square
from studio.errors import BadInput
from studio.options import Checked, option, to_json
from studio.paths import explain_disk, put_in_place, require_space, sync_folder, temporary_beside, write_file
from studio.words import counted

RESOLUTIONS = (32, 64, 128, 256, 512)
NO_FOLDER = "other"
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_SPARE_BYTES = 50_000_000
_LARGEST_SUGGESTED = 256
_MOST_CLASSES = 200
MOST_SORTED = 5_000
"""Of more pictures it is not looked at what is on them, so they cannot be sorted into kinds."""
_FEWEST_OF_A_KIND, _USUAL_OF_A_KIND = 4, 100
_SUGGESTED_KINDS = (16, 12, 10, 8, 6, 5, 4, 3, 2, 0)
Piece = tuple[Picture, Cut]
"""A square of the training material: the picture that it is cut out of, and how."""


@dataclass(frozen=True, kw_only=True)
class PrepareSettings(Checked):
    """How pictures become training material."""

    title: str = option("", heading="The pictures", help="What the dataset is called.")
    resolution: int = option(
        128, help="Width and height of every picture. Twice the width takes about four times as long to learn.",
        unit="px", choices=RESOLUTIONS,
    )  # fmt: skip
    fit: str = option(
        "crop", choices=("crop", "focus", "pad", "tile"),
        help="Crop keeps the middle square; focus the square where most is to be seen; pad keeps the whole picture on"
        " the background; tile cuts large pictures into several squares.",
    )  # fmt: skip
    background: str = option(
        "#ffffff", help="The colour behind transparent pixels and beside padded pictures, as #rrggbb.",
        label="Background colour",
    )  # fmt: skip
    colour: str = option(
        "rgb", help="Colour, shades of grey, or colour with transparency.", choices=("rgb", "grey", "rgba"),
        label="Colours",
    )  # fmt: skip
    mirror: bool = option(
        False, help="Show each picture mirrored as well. Good for flowers and faces, bad for letters.",
        label="Mirror pictures",
    )  # fmt: skip
    classes_from_folders: bool = option(
        True, help="Make a class of each first-level folder, so that you can choose between them when you play."
    )
    kinds: int = option(
        0, help="Sort the pictures by their looks into so many kinds, about as many in each. Every kind becomes a class that you"
        " can choose when you play, instead of sub-folders; 0 for none.",
        low=0, high=24,
    )  # fmt: skip
    drop_duplicates: bool = option(True, help="Keep only the first of pictures that are exactly the same.")
    trim_borders: bool = option(False, help="Cut off frames of one colour, where a picture has one.")
    even_light: bool = option(
        False, help="Bring dark and bright pictures half way to the brightness that is usual among them.",
        label="Even out brightness",
    )  # fmt: skip
    tiles: int = option(
        2, help="With tile: how many squares lie along the shorter side, each overlapping the next a little.",
        low=1, high=8, advanced=True,
    )  # fmt: skip
    sharp_pixels: bool = option(
        False, help="For pixel art: enlarge by whole factors, without smoothing.", advanced=True
    )
    video_frames: int = option(
        200, help="At most so many frames are taken out of each video, evenly spread, none nearly like the one before.",
        label="Frames of a video", low=1, high=600, advanced=True,
    )  # fmt: skip
    video_seconds: float = option(
        0.0, help="Take a frame of a video every so many seconds from its beginning on; 0 spreads them evenly.",
        label="Seconds between frames", low=0, high=3600, unit="seconds", advanced=True,
    )  # fmt: skip
    animations: bool = option(
        False, help="Take animated GIFs and WebPs apart as videos are; otherwise their first frame counts.",
        advanced=True,
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        if not _COLOUR.fullmatch(self.background):
            raise BadInput(f"{self.background[:20]!r} is not a colour.", "Write it as #rrggbb, such as #ffffff.")
        if len(self.title) > 200:
            raise BadInput("The title is very long.", "Use at most 200 characters.")

    @property
    def square(self) -> Square:
        """The part that the pixels depend on."""
        fit = "crop" if self.fit == "tile" else self.fit
        return Square(resolution=self.resolution, fit=fit, background=self.background, colour=self.colour,
                      sharp_pixels=self.sharp_pixels)  # fmt: skip

    def kinds_among(self, pictures: int) -> int:
        """Into how many kinds so many pictures are sorted: fewer than asked for where few would be in each; 0 for none."""
        found = min(self.kinds, pictures // _FEWEST_OF_A_KIND)
        return found if found > 1 else 0

    @property
    def film(self) -> Film:
        """The part that says which pictures a film gives; it is used when the pictures are looked through."""
        return Film(video_frames=self.video_frames, video_seconds=self.video_seconds, animations=self.animations)


def suggest(report: ScanReport) -> PrepareSettings:
    """Settings that suit an upload: the nearest resolution up to 256, grey or clear only where most pictures are, and kinds
    where there are some hundreds of pictures and no folders that say what they are (docs/recipes.md)."""
    total = len(report.pictures)
    offered = [size for size in RESOLUTIONS if size <= _LARGEST_SUGGESTED]
    resolution = min(offered, key=lambda size: abs(np.log2(size / report.median)))
    opaque = "grey" if report.grey >= 0.95 * total else "rgb"
    folders = 2 <= len(report.classes) <= _MOST_CLASSES and total >= FEWEST * len(report.classes)
    sorted_here = not folders and total <= MOST_SORTED
    kinds = next(count for count in _SUGGESTED_KINDS if count * _USUAL_OF_A_KIND <= total)
    elongated = sum(max(p.width, p.height) > 1.6 * min(p.width, p.height) for p in report.pictures)
    return PrepareSettings(
        title=report.source[:80],
        resolution=resolution,
        fit="pad" if elongated > total / 2 else "crop",
        colour="rgba" if report.alpha > total / 2 else opaque,
        classes_from_folders=folders,
        kinds=kinds if sorted_here else 0,
        sharp_pixels=report.median <= 64 and report.few_colours > total / 2 and report.median <= resolution,
    )


def prepare(
    report: ScanReport,
    settings: PrepareSettings,
    into: Path,
    title: str = "",
    progress: Progress = silent,
    *,
    choices: Choices | None = None,
    cancelled: Cancel = never,
    limits: ArchiveLimits | None = None,
    hands: int = 2,
) -> DatasetInfo:
    """Write the dataset folder `into`; it appears complete or not at all. Its name becomes the dataset's id.

    Args:
        choices: which pictures are left out, and squares drawn by hand.

    Raises:
        BadInput: `into` exists, or too few pictures are left.
        NoSpace: the disk is too small; nothing is left behind.
        Cancelled: `cancelled()` said so; nothing is left behind.
    """
    if into.exists():
        raise BadInput(f"There is already a dataset {into.name!r}.", "Choose another name.")
    found = pieces(report, settings, choices)
    if len(kept := {picture.id for picture, _ in found}) < FEWEST:
        raise BadInput(f"Only {len(kept)} different pictures are left.", f"Give it at least {FEWEST}.")
    if len(found) > MAX_FILES:
        raise BadInput(f"These would be {len(found):,} tiles.", f"Use fewer tiles: {MAX_FILES:,} pictures at most.")
    pictures = [picture for picture, _ in found]
    classes = _classes(report, settings, pictures)
    into.parent.mkdir(parents=True, exist_ok=True)
    require_space(into.parent, len(pictures) * settings.square.bytes + _SPARE_BYTES)
    temporary = temporary_beside(into)
    try:
        temporary.mkdir()
        writer = _Writer(temporary, settings, len(pictures))
        with Reader(limits) as reader, Glovebox(hands) as glovebox:
            square = to_json(settings.square)
            requests = (
                reader.request(picture.place, {"task": "square", "square": square, "cut": to_json(cut)})
                for picture, cut in found
            )
            writer.write(pictures, classes, glovebox.map(requests, cancelled), progress)
        info = _describe(report, settings, writer, classes, title or settings.title or report.source, into.name)
        _complete(temporary, info)
        put_in_place(temporary, into)
    except OSError as error:
        raise explain_disk(error, into) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return info


def count_squares(report: ScanReport, settings: PrepareSettings, choices: Choices | None = None) -> int:
    """How many squares `prepare` would make, if every picture can still be opened."""
    kept = _kept(report, settings, choices or Choices())
    if settings.fit != "tile":
        return len(kept)
    return sum(len(cuts_of(picture, settings, choices)) for picture in kept)


def pieces(report: ScanReport, settings: PrepareSettings, choices: Choices | None = None) -> list[Piece]:
    """All that `prepare` would cut out of the pictures, ordered by class and name."""
    pictures, usual = _kept(report, settings, choices or Choices()), usual_brightness(report)
    order = {name: place for place, name in enumerate(_classes(report, settings, pictures))}
    if order:
        pictures.sort(key=lambda picture: (order[picture.folder], picture.place.label))
    return [(picture, cut) for picture in pictures for cut in cuts_of(picture, settings, choices, usual)]


def cuts_of(
    picture: Picture, settings: PrepareSettings, choices: Choices | None = None, usual: float = 128.0
) -> tuple[Cut, ...]:
    """The squares that one picture becomes: a square drawn by hand, else tiles, else one of what its frame holds.

    Args:
        usual: the brightness that pictures are brought nearer to, 0 to 255.
    """
    gamma = gentle_gamma(picture.brightness, usual) if settings.even_light else 1.0
    by_hand = choices.squares.get(picture.id) if choices else None
    if by_hand is not None:
        return (Cut(box=by_hand, gamma=gamma),)
    width, height = picture.width, picture.height
    box = inside_border(width, height, picture.border) if settings.trim_borders else WHOLE
    if settings.fit == "tile":
        boxes = tiles(width, height, box, settings.tiles, settings.resolution)
        return tuple(Cut(box=one, gamma=gamma) for one in boxes)
    return (Cut(box=box, gamma=gamma),)


def usual_brightness(report: ScanReport) -> float:
    """The median of the pictures' mean brightness, 0 to 255."""
    return float(np.median([picture.brightness for picture in report.pictures]))


def _kept(report: ScanReport, settings: PrepareSettings, choices: Choices) -> list[Picture]:
    """All but what was left out, and of exact copies the first that was not (where only one shall stay)."""
    left_out = set(choices.left_out)
    pictures = [picture for picture in report.pictures if picture.id not in left_out]
    if not settings.drop_duplicates:
        return pictures
    first = {picture.pixel_hash: picture.id for picture in reversed(pictures)}
    return [picture for picture in pictures if first[picture.pixel_hash] == picture.id]


def _classes(report: ScanReport, settings: PrepareSettings, pictures: Sequence[Picture]) -> tuple[str, ...]:
    """The names of the folders or kinds that become classes ("" for the top folder); none if there would be only one."""
    present = {picture.folder for picture in pictures}
    classes = tuple(name for name in report.classes if name in present)
    return classes if (settings.classes_from_folders or settings.kinds) and len(classes) > 1 else ()


class _Writer:
    """Writes pixels.npy and labels.npy row by row; a picture that fails now is left out and named.

    Plain writes and no memory map: a full disk is then an error to explain, not a crash.
    """

    def __init__(self, folder: Path, settings: PrepareSettings, expected: int) -> None:
        self.folder, self.settings, self.expected = folder, settings, expected
        self.used: list[Picture] = []
        self.refused: list[Refusal] = []
        self.digest = hashlib.sha256()

    def write(
        self, pictures: list[Picture], classes: tuple[str, ...], answers: Iterator[Reply | BadInput], progress: Progress
    ) -> None:
        """Write the answer for each picture in turn, then the class of each, and digest both."""
        with open(self.folder / PIXELS_FILE, "wb") as file:
            file.write(self._header(self.expected))
            self._write_rows(file, pictures, answers, progress)
            if len(self.used) < FEWEST:
                raise BadInput(
                    f"Only {counted(len(self.used), 'picture')} could still be opened.", "Upload them again."
                )
            file.seek(0)
            file.write(self._header(len(self.used)))
            file.flush()
            os.fsync(file.fileno())
        if classes:
            labels = np.array([classes.index(picture.folder) for picture in self.used], dtype=np.int64)
            buffer = BytesIO()
            np.save(buffer, labels)
            write_file(self.folder / LABELS_FILE, buffer.getvalue())
            self.digest.update(labels.tobytes())
        meaning = {**to_json(self.settings), "title": "", "classes": [name or NO_FOLDER for name in classes]}
        self.digest.update(json.dumps(meaning, sort_keys=True).encode())

    def _write_rows(
        self, file: IO[bytes], pictures: list[Picture], answers: Iterator[Reply | BadInput], progress: Progress
    ) -> None:
        progress(0, len(pictures))
        for done, (picture, answer) in enumerate(zip(pictures, answers, strict=True), start=1):
            if isinstance(answer, BadInput):
                self.refused.append(Refusal(file=picture.place.label, reason=str(answer)))
            else:
                self._write_row(file, picture, answer[1])
            progress(done, len(pictures))

    def _write_row(self, file: IO[bytes], picture: Picture, pixels: bytes) -> None:
        if len(pixels) != self.settings.square.bytes:
            raise RuntimeError(f"{len(pixels)} bytes came back, {self.settings.square.bytes} were expected")
        file.write(pixels)
        self.digest.update(pixels)
        self.used.append(picture)

    def _header(self, count: int) -> bytes:
        """The .npy header; its length does not depend on `count`, because numpy pads for a growing first axis."""
        square = self.settings.square
        shape = (count, square.resolution, square.resolution, square.channels)
        buffer = BytesIO()
        np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
        return buffer.getvalue()


def _describe(
    report: ScanReport, settings: PrepareSettings, writer: _Writer, classes: tuple[str, ...], title: str, name: str
) -> DatasetInfo:
    folders = [picture.folder for picture in writer.used]
    return DatasetInfo(
        id=name, title=title.strip() or "Untitled", resolution=settings.resolution,
        channels=settings.square.channels, count=len(writer.used),
        labels=tuple(_class_names(classes)), counts=tuple(folders.count(one) for one in classes),
        fingerprint=writer.digest.hexdigest(), refused=(*report.refused, *writer.refused),
        duplicates=report.duplicates, mirror=settings.mirror, source=report.source,
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )  # fmt: skip


def _class_names(classes: Sequence[str]) -> list[str]:
    """Names to show: the top folder's pictures are "other", or "other pictures" where a folder has that name."""
    fallback = f"{NO_FOLDER} pictures" if NO_FOLDER in classes else NO_FOLDER
    return [name or fallback for name in classes]


def _complete(folder: Path, info: DatasetInfo) -> None:
    """Add sheet and description, and read all back before it counts."""
    write_file(folder / INFO_FILE, write_info_text(info))
    pixels = open_pixels(folder, info)
    open_labels(folder, read_info(folder))
    shown = [cell(pixels[position]) for position in spread(info.count, SHEET_PICTURES)]
    write_file(folder / SHEET_FILE, contact_sheet(shown))
    sync_folder(folder)
