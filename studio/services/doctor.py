"""What the dataset doctor leaves beside an upload: findings, thumbnails, and the artist's choices for single pictures.

uploads/<id>/findings.json    what could be mended, as of the last scan
uploads/<id>/looks.npy        what is on each picture, to sort them by, as of the last scan; of very many there is none
uploads/<id>/choices.json     pictures left out, and squares drawn by hand
uploads/<id>/thumbs/<id>.webp a thumbnail of every picture; larger ones, made when they are asked for, in large/
uploads/<id>/frames/          frames of films
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from studio.data.archive import ArchiveLimits
from studio.data.choices import Choices
from studio.data.doctor import Features, Finding
from studio.data.glovebox import Glovebox
from studio.data.prepare import MOST_SORTED, PrepareSettings
from studio.data.progress import Cancel, never
from studio.data.scan import Picture, Scanned, ScanReport
from studio.data.sources import Reader
from studio.data.vitals import Vitals
from studio.errors import BadInput, Damaged
from studio.options import from_json, to_json
from studio.paths import write_file

if TYPE_CHECKING:
    from torch import Tensor

_AT_ONCE = 64
_LARGE_PX = 720
_NAMED = 5
_LOOKS_FILE = "looks.npy"


def features_of(vitals: Sequence[Vitals], cancelled: Cancel = never) -> Features | None:
    """What the feature network makes of each picture, [n, dim]; None for very many pictures, or if it is cancelled."""
    from studio.features.extractor import load

    return _seen(vitals, load(), cancelled)


def looks_of(vitals: Sequence[Vitals], cancelled: Cancel = never) -> Features | None:
    """What is on each picture, [n, dim], to sort them into kinds by; None as above."""
    from studio.features.kinds import look

    return _seen(vitals, look, cancelled)


def _seen(vitals: Sequence[Vitals], see: Callable[[Tensor], Tensor], cancelled: Cancel) -> Features | None:
    if len(vitals) > MOST_SORTED:
        return None
    import torch

    found = []
    for start in range(0, len(vitals), _AT_ONCE):
        if cancelled():
            return None
        minis = np.stack([one.mini for one in vitals[start : start + _AT_ONCE]])
        found.append(see(torch.from_numpy(minis).permute(0, 3, 1, 2).float() / 127.5 - 1).cpu().numpy())
    return np.concatenate(found).astype(np.float32)


def told(
    findings: Sequence[Finding], pictures: Sequence[Picture], settings: PrepareSettings, choices: Choices
) -> Iterator[str]:
    """The findings as lines: on each what was seen, what mends it or has done so, and the names of its first files."""
    names = {picture.id: picture.place.label for picture in pictures}
    for finding in findings:
        word = "Mended" if finding.is_mended(settings, choices) else "To mend"
        yield f"{finding.topic}: {finding.sentence} {word}: {finding.remedy[0].lower()}{finding.remedy[1:]}."
        more = len(finding.pictures) - _NAMED
        shown = ", ".join(names[id] for id in finding.pictures[:_NAMED])
        yield f"  {shown}{f' and {more:,} more' if more > 0 else ''}"
    left = [finding.topic for finding in findings if not finding.is_mended(settings, choices)]
    if left:
        yield f"Mend what you like with --mend {' '.join(left)}, or --mend all."


def in_kinds(report: ScanReport, settings: PrepareSettings, looks: Features | None) -> ScanReport:
    """The report with its pictures sorted into as many kinds as the settings ask for; without classes if they are too few.

    Raises:
        BadInput: nothing is known of their looks.
    """
    count = settings.kinds_among(len(report.pictures))
    if not count:
        return replace(report, classes=(), counts=())
    if looks is None or len(looks) != len(report.pictures):
        most = f"{MOST_SORTED:,} pictures at most"
        raise BadInput(
            "These pictures cannot be sorted into kinds.", f"That is done with {most}; or look at them anew."
        )
    import torch

    from studio.features.kinds import sort_into_kinds

    return report.in_kinds(sort_into_kinds(torch.from_numpy(looks), count).tolist())


def write_record(folder: Path, scanned: Scanned, looks: Features | None, findings: Sequence[Finding]) -> None:
    """Keep thumbnails, looks and findings beside an upload."""
    thumbs = folder / "thumbs"
    thumbs.mkdir(exist_ok=True)
    for picture, vitals in zip(scanned.report.pictures, scanned.vitals, strict=True):
        (thumbs / f"{picture.id}.webp").write_bytes(vitals.thumb)
    if looks is None:
        (folder / _LOOKS_FILE).unlink(missing_ok=True)
    else:
        np.save(folder / _LOOKS_FILE, looks)
    write_file(folder / "findings.json", json.dumps(to_json(list(findings))))


def read_looks(folder: Path) -> Features | None:
    """The vectors of the last scan; None if there are none, or none that can be read."""
    try:
        return np.asarray(np.load(folder / _LOOKS_FILE, allow_pickle=False), np.float32)
    except (OSError, ValueError, EOFError):
        return None


def read_findings(folder: Path) -> tuple[Finding, ...]:
    """The findings of the last scan; none before. Raises Damaged."""
    file = folder / "findings.json"
    if not file.exists():
        return ()
    try:
        return tuple(from_json(Finding, one) for one in json.loads(file.read_text("utf-8")))
    except (BadInput, ValueError, TypeError) as error:
        raise Damaged("The findings on these pictures cannot be read.", "Scan them again.") from error


def read_choices(folder: Path) -> Choices:
    """What the artist chose; nothing yet if there is no file. Raises Damaged."""
    file = folder / "choices.json"
    if not file.exists():
        return Choices()
    try:
        return from_json(Choices, json.loads(file.read_text("utf-8")))
    except (BadInput, ValueError) as error:
        raise Damaged("Your choices for these pictures cannot be read.", "Choose the pictures again.") from error


def write_choices(folder: Path, choices: Choices) -> None:
    """Keep what the artist chose, at once and for good."""
    write_file(folder / "choices.json", json.dumps(to_json(choices)))


def draw_large(folder: Path, picture: Picture, limits: ArchiveLimits) -> Path:
    """A view of at most 720 px of one picture, opened in the glovebox and kept.

    Raises:
        BadInput: the picture cannot be opened any more.
    """
    file = folder / "large" / f"{picture.id}.webp"
    if not file.exists():
        with Reader(limits) as reader, Glovebox(1) as glovebox:
            request = reader.request(picture.place, {"task": "show", "side_px": _LARGE_PX})
            answer = next(glovebox.map([request], never))
        if isinstance(answer, BadInput):
            raise answer
        file.parent.mkdir(exist_ok=True)
        write_file(file, answer[1])
    return file
