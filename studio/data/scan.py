"""Look through an upload: every file is judged, every refusal explained, and a bad file never discards good ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from studio.data.alike import Signature, equal_groups, near_groups
from studio.data.archive import ArchiveLimits
from studio.data.films import take_apart
from studio.data.frames import Film
from studio.data.glovebox import Glovebox
from studio.data.labels import class_folders
from studio.data.pictures import KINDS
from studio.data.progress import Cancel, Progress, never, silent
from studio.data.sources import Footage, Listing, Named, Place, Reader, Refusal, list_places
from studio.data.vitals import Vitals, unpacked
from studio.errors import BadInput
from studio.options import from_json

__all__ = ["Picture", "Refusal", "ScanReport", "Scanned", "scan"]

FEWEST = 5
FEW = 10
GOOD_NUMBER = 30

Fact = tuple[Place, dict[str, Any], Vitals]
"""A good picture: where it lies, what the glovebox said of it, and its vitals."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One good picture.

    Attributes:
        place: its label and where it lies.
        folder: the first-level folder, looked at as a class; "" at the top.
        width, height: of the upright picture, in pixels.
        kind: "PNG", "JPEG", …
        alpha, grey, few_colours: whether some pixel is not opaque, all are grey, and at most 64 colours appear.
        pixel_hash: sha256 of the pixels, equal for exact duplicates.
        brightness: mean brightness, 0 to 255.
        border: pixels of a frame of one colour at the left, top, right and bottom.
    """

    place: Place
    folder: str
    width: int
    height: int
    kind: str
    alpha: bool
    grey: bool
    few_colours: bool
    pixel_hash: str
    brightness: float = 128.0
    border: tuple[int, int, int, int] = (0, 0, 0, 0)

    @property
    def id(self) -> str:
        """A short name of harmless characters that is the same after every scan."""
        return hashlib.sha256(self.place.label.encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class ScanReport:
    """What an upload holds.

    Attributes:
        source: a name to show.
        pictures: the good ones, by label.
        refused: the other files, each with its reason; `passed_over` counts hidden files, which are not named.
        classes, counts: names of first-level folders with pictures (none unless there are two), and pictures in each.
        duplicates, near_duplicates: groups of labels; groups of exact duplicates are not near duplicates again.
        smallest, median, largest: of the pictures' shorter sides, in pixels.
        landscape, portrait, square, grey, alpha, few_colours: numbers of pictures.
        warnings: plain sentences.
        films: names of the films whose frames are among the pictures.
    """

    source: str
    pictures: tuple[Picture, ...]
    refused: tuple[Refusal, ...]
    passed_over: int
    classes: tuple[str, ...]
    counts: tuple[int, ...]
    duplicates: tuple[tuple[str, ...], ...]
    near_duplicates: tuple[tuple[str, ...], ...]
    smallest: int
    median: int
    largest: int
    landscape: int
    portrait: int
    square: int
    grey: int
    alpha: int
    few_colours: int
    warnings: tuple[str, ...]
    films: tuple[str, ...] = ()

    def in_kinds(self, kinds: Sequence[int]) -> ScanReport:
        """The same pictures, each in a class "kind 1", "kind 2", … instead of its folder.

        Args:
            kinds: the kind of each picture, any numbers; the smallest is called "kind 1".
        """
        names = {kind: f"kind {number}" for number, kind in enumerate(sorted(set(kinds)), start=1)}
        pictures = (replace(one, folder=names[kind]) for one, kind in zip(self.pictures, kinds, strict=True))
        counts = tuple(sum(kind == one for one in kinds) for kind in names)
        return replace(self, pictures=tuple(pictures), classes=tuple(names.values()), counts=counts)


@dataclass(frozen=True, kw_only=True)
class Scanned:
    """A report, and for each of its pictures what the dataset doctor looks at."""

    report: ScanReport
    vitals: tuple[Vitals, ...]


def scan(
    source: Path | Sequence[Named],
    *,
    progress: Progress = silent,
    cancelled: Cancel = never,
    limits: ArchiveLimits | None = None,
    name: str = "",
    hands: int = 2,
    film: Film | None = None,
    frames: Path | None = None,
) -> Scanned:
    """Judge every file of a folder, of a zip, of a film, or of a list of files with the names they had.

    Args:
        film: how films are taken apart.
        frames: the folder that keeps their frames; without one films are refused.

    Raises:
        BadInput: there is no picture, or fewer than five; or the zip cannot be used.
        NotFound: there is no such folder.
        NoSpace: the disk is too small for the frames of a film.
        Cancelled: `cancelled()` said so.
    """
    source = _resolved(source)
    with Reader(limits) as reader:
        listing = list_places(source, reader, film)
        refused = list(listing.refused)
        places = list(listing.places)
        if listing.films:
            found, without = _from_films(listing.films, reader, film or Film(), frames, progress, cancelled)
            places, refused = [*places, *found], [*refused, *without]
        with Glovebox(hands) as glovebox:
            facts = _judged(places, refused, reader, glovebox, progress, cancelled)
    _require_enough(facts, refused)
    report = _report(name or _name(source), facts, refused, listing)
    return Scanned(report=report, vitals=tuple(vitals for _, _, vitals in facts))


def _from_films(
    films: Sequence[Footage], reader: Reader, film: Film, frames: Path | None, progress: Progress, cancelled: Cancel
) -> tuple[list[Place], list[Refusal]]:
    if frames is None:
        reason = "This is a video, and there is no folder to keep its frames in."
        return [], [Refusal(file=one.label, reason=reason) for one in films]
    return take_apart(films, reader, film, frames, progress, cancelled)


def _judged(
    places: Sequence[Place], refused: list[Refusal], reader: Reader, glovebox: Glovebox, progress: Progress,
    cancelled: Cancel,
) -> list[Fact]:  # fmt: skip
    """What the glovebox answers for each place; its refusals are added to `refused`."""
    requests = (reader.request(place, {"task": "judge"}) for place in places)
    facts: list[Fact] = []
    progress(0, len(places))
    for done, (place, answer) in enumerate(zip(places, glovebox.map(requests, cancelled), strict=True), start=1):
        if isinstance(answer, BadInput):
            refused.append(Refusal(file=place.label, reason=str(answer)))
        else:
            facts.append((place, answer[0], unpacked(answer[0]["vitals"], answer[1])))
        progress(done, len(places))
    return facts


def _resolved(source: Path | Sequence[Named]) -> Path | Sequence[Named]:
    """Pictures are opened in a process that works elsewhere, so their paths must be whole."""
    return source.expanduser().resolve() if isinstance(source, Path) else source


def _name(source: Path | Sequence[Named]) -> str:
    return source.stem if isinstance(source, Path) else "upload"


def _require_enough(facts: Sequence[Fact], refused: Sequence[Refusal]) -> None:
    if len(facts) >= FEWEST:
        return
    first = f" For example, {refused[0].file}: {refused[0].reason}" if refused else ""
    enough = f"Give it at least {FEWEST}; {GOOD_NUMBER} to 100 of one kind are good, and a short film gives that many."
    if len(facts) == 1:
        raise BadInput(
            "There is only 1 picture here. A GAN learns what pictures have in common and where they differ, "
            f"and from a single one it could only learn to copy it.{first}", enough,
        )  # fmt: skip
    if facts:
        raise BadInput(f"There are only {len(facts)} pictures here, and a GAN cannot learn from so few.{first}", enough)
    if refused:
        one = f"{refused[0].file}: {refused[0].reason}"
        many = f"None of the {len(refused):,} files here is a picture that can be used.{first}"
        raise BadInput(many if len(refused) > 1 else one, f"{KINDS} are read.")
    raise BadInput("There are no pictures here.", f"{KINDS} are read.")


def _report(name: str, facts: list[Fact], refused: list[Refusal], listing: Listing) -> ScanReport:
    pictures = tuple(_pictures(facts))
    folders = [picture.folder for picture in pictures]
    classes = tuple(sorted(set(folders), key=_natural)) if len(set(folders)) > 1 else ()
    duplicates = equal_groups(picture.pixel_hash for picture in pictures)
    near = _near_duplicates(facts, duplicates)
    sides = sorted(min(picture.width, picture.height) for picture in pictures)
    return ScanReport(
        source=name, pictures=pictures, refused=tuple(refused), passed_over=listing.passed_over,
        classes=classes, counts=tuple(folders.count(one) for one in classes),
        duplicates=_labels(pictures, duplicates), near_duplicates=_labels(pictures, near),
        smallest=sides[0], median=sides[len(sides) // 2], largest=sides[-1],
        landscape=sum(p.width > p.height for p in pictures), portrait=sum(p.width < p.height for p in pictures),
        square=sum(p.width == p.height for p in pictures), grey=sum(p.grey for p in pictures),
        alpha=sum(p.alpha for p in pictures), few_colours=sum(p.few_colours for p in pictures),
        warnings=_warnings(pictures, sides), films=tuple(film.label for film in listing.films),
    )  # fmt: skip


def _pictures(facts: list[Fact]) -> Iterator[Picture]:
    folders = class_folders([place.label for place, _, _ in facts])
    known = {"width", "height", "kind", "alpha", "grey", "few_colours", "pixel_hash"}
    for (place, fact, vitals), folder in zip(facts, folders, strict=True):
        kept = {key: value for key, value in fact.items() if key in known}
        yield from_json(Picture, {"place": {"label": place.label, "path": place.path, "entry": place.entry},
                                  "folder": folder, "brightness": vitals.mean, "border": vitals.border,
                                  **kept})  # fmt: skip


def _natural(name: str) -> tuple[int, int, str]:
    """Sort numbers as numbers and before words, as in 2, 10, cat; the top folder last."""
    if not name:
        return (2, 0, "")
    return (0, int(name), name) if name.isdecimal() and name.isascii() and len(name) < 10 else (1, 0, name.casefold())


def _near_duplicates(facts: list[Fact], duplicates: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    """Groups among the pictures that are left when each group of exact duplicates keeps its first."""
    dropped = {position for group in duplicates for position in group[1:]}
    kept = [position for position in range(len(facts)) if position not in dropped]
    signatures = [
        Signature(difference_hash=int(facts[p][1]["difference_hash"], 16), tiny=bytes.fromhex(facts[p][1]["tiny"]))
        for p in kept
    ]
    return tuple(tuple(kept[position] for position in group) for group in near_groups(signatures))


def _labels(pictures: Sequence[Picture], groups: tuple[tuple[int, ...], ...]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(pictures[position].place.label for position in group) for group in groups)


def _warnings(pictures: Sequence[Picture], sides: list[int]) -> tuple[str, ...]:
    found = []
    different = len({picture.pixel_hash for picture in pictures})
    if different < FEWEST:
        same = (
            "All pictures are the same"
            if different == 1
            else f"Only {different} of the pictures differ from each other"
        )
        found.append(f"{same}; very little can be learnt from them.")
    elif different < FEW:
        found.append(
            f"{different} pictures are so few that they will mostly be copied. {GOOD_NUMBER} to 100 are home ground."
        )
    elif different < GOOD_NUMBER:
        found.append(f"{different} pictures are few: expect close variations of them.")
    if sides[len(sides) // 2] < 32:
        found.append(f"Most pictures are small ({sides[len(sides) // 2]} pixels on the shorter side).")
    elongated = sum(max(p.width, p.height) > 2.5 * min(p.width, p.height) for p in pictures)
    if elongated > len(pictures) / 4:
        found.append(f"{elongated} pictures are much longer than wide: cropping cuts much off, padding keeps it.")
    return tuple(found)
