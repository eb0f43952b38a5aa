"""Look through an upload: every file is judged, every refusal explained, and a bad file never discards good ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.data.alike import Signature, equal_groups, near_groups
from studio.data.archive import ArchiveLimits
from studio.data.glovebox import Glovebox
from studio.data.labels import class_folders
from studio.data.pictures import KINDS
from studio.data.progress import Cancel, Progress, never, silent
from studio.data.sources import Listing, Named, Place, Reader, Refusal, list_places
from studio.errors import BadInput
from studio.options import from_json

__all__ = ["Picture", "Refusal", "ScanReport", "scan"]

FEWEST = 5
GOOD_NUMBER = 30


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


def scan(
    source: Path | Sequence[Named],
    *,
    progress: Progress = silent,
    cancelled: Cancel = never,
    limits: ArchiveLimits | None = None,
    name: str = "",
    hands: int = 2,
) -> ScanReport:
    """Judge every file of a folder, of a zip, or of a list of files with the names they had.

    Raises:
        BadInput: there is no picture, or fewer than five; or the zip cannot be used.
        NotFound: there is no such folder.
        Cancelled: `cancelled()` said so.
    """
    source = _resolved(source)
    with Reader(limits) as reader, Glovebox(hands) as glovebox:
        listing = list_places(source, reader)
        requests = (reader.request(place, {"task": "judge"}) for place in listing.places)
        facts: list[tuple[Place, dict[str, Any]]] = []
        refused = list(listing.refused)
        progress(0, len(listing.places))
        for place, answer in zip(listing.places, glovebox.map(requests, cancelled), strict=True):
            if isinstance(answer, BadInput):
                refused.append(Refusal(file=place.label, reason=str(answer)))
            else:
                facts.append((place, answer[0]))
            progress(len(facts) + len(refused) - len(listing.refused), len(listing.places))
    _require_enough(facts, refused, listing)
    return _report(name or _name(source), facts, refused, listing.passed_over)


def _resolved(source: Path | Sequence[Named]) -> Path | Sequence[Named]:
    """Pictures are opened in a process that works elsewhere, so their paths must be whole."""
    return source.expanduser().resolve() if isinstance(source, Path) else source


def _name(source: Path | Sequence[Named]) -> str:
    return source.stem if isinstance(source, Path) else "upload"


def _require_enough(facts: Sequence[object], refused: Sequence[Refusal], listing: Listing) -> None:
    if len(facts) >= FEWEST:
        return
    first = f" For example, {refused[0].file}: {refused[0].reason}" if refused else ""
    if facts:
        number = "only 1 picture" if len(facts) == 1 else f"only {len(facts)} pictures"
        raise BadInput(
            f"There {'is' if len(facts) == 1 else 'are'} {number} here, and a GAN cannot learn from so few.{first}",
            f"Give it at least {FEWEST}; {GOOD_NUMBER} or more are good.",
        )
    if refused:
        said = f"None of the {len(refused):,} files here is" if len(refused) > 1 else "The one file here is not"
        raise BadInput(f"{said} a picture that can be used.{first}", f"{KINDS} are read.")
    raise BadInput("There are no pictures here.", f"{KINDS} are read.")


def _report(name: str, facts: list[tuple[Place, dict[str, Any]]], refused: list[Refusal], skipped: int) -> ScanReport:
    pictures = tuple(_pictures(facts))
    folders = [picture.folder for picture in pictures]
    classes = tuple(sorted(set(folders), key=_natural)) if len(set(folders)) > 1 else ()
    duplicates = equal_groups(picture.pixel_hash for picture in pictures)
    near = _near_duplicates(facts, duplicates)
    sides = sorted(min(picture.width, picture.height) for picture in pictures)
    return ScanReport(
        source=name, pictures=pictures, refused=tuple(refused), passed_over=skipped,
        classes=classes, counts=tuple(folders.count(one) for one in classes),
        duplicates=_labels(pictures, duplicates), near_duplicates=_labels(pictures, near),
        smallest=sides[0], median=sides[len(sides) // 2], largest=sides[-1],
        landscape=sum(p.width > p.height for p in pictures), portrait=sum(p.width < p.height for p in pictures),
        square=sum(p.width == p.height for p in pictures), grey=sum(p.grey for p in pictures),
        alpha=sum(p.alpha for p in pictures), few_colours=sum(p.few_colours for p in pictures),
        warnings=_warnings(pictures, sides),
    )  # fmt: skip


def _pictures(facts: list[tuple[Place, dict[str, Any]]]) -> Iterator[Picture]:
    folders = class_folders([place.label for place, _ in facts])
    known = {"width", "height", "kind", "alpha", "grey", "few_colours", "pixel_hash"}
    for (place, fact), folder in zip(facts, folders, strict=True):
        kept = {key: value for key, value in fact.items() if key in known}
        yield from_json(Picture, {"place": {"label": place.label, "path": place.path, "entry": place.entry},
                                  "folder": folder, **kept})  # fmt: skip


def _natural(name: str) -> tuple[int, int, str]:
    """Sort numbers as numbers and before words, as in 2, 10, cat; the top folder last."""
    if not name:
        return (2, 0, "")
    return (0, int(name), name) if name.isdecimal() and name.isascii() and len(name) < 10 else (1, 0, name.casefold())


def _near_duplicates(
    facts: list[tuple[Place, dict[str, Any]]], duplicates: tuple[tuple[int, ...], ...]
) -> tuple[tuple[int, ...], ...]:
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
        found.append(f"Only {different} of the pictures differ from each other; very little can be learnt from them.")
    elif different < GOOD_NUMBER:
        found.append(f"{different} pictures are few: expect close variations of them. {GOOD_NUMBER} or more are good.")
    if sides[len(sides) // 2] < 32:
        found.append(f"Most pictures are small ({sides[len(sides) // 2]} pixels on the shorter side).")
    elongated = sum(max(p.width, p.height) > 2.5 * min(p.width, p.height) for p in pictures)
    if elongated > len(pictures) / 4:
        found.append(f"{elongated} pictures are much longer than wide: cropping cuts much off, padding keeps it.")
    return tuple(found)
