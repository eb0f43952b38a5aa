"""Films among the pictures: a confined child takes frames out of each, which are kept in a zip of their own."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

from studio.data.frames import Film
from studio.data.glovebox import Glovebox
from studio.data.inside import Reply
from studio.data.progress import Cancel, Progress
from studio.data.sources import Footage, Place, Reader, Refusal
from studio.errors import BadInput
from studio.options import to_json
from studio.paths import put_in_place, require_space, temporary_beside

_WALL_SECONDS = 200.0
_SPARE_BYTES = 200_000_000


def take_apart(
    films: Sequence[Footage], reader: Reader, film: Film, into: Path, progress: Progress, cancelled: Cancel
) -> tuple[list[Place], list[Refusal]]:
    """The frames of all films as places, and the films that gave none, each with its reason.

    Frames that were taken with the same settings before are used again.

    Args:
        into: the folder in which the frames are kept, one zip for each film.

    Raises:
        NoSpace: the disk is too small. Cancelled.
    """
    places: list[Place] = []
    refused: list[Refusal] = []
    into.mkdir(parents=True, exist_ok=True)
    with Glovebox(1, wall_seconds=_WALL_SECONDS, films=True) as glovebox:
        for done, footage in enumerate(films):
            progress(done, len(films))
            kept = into / f"{_name(footage, film)}.zip"
            if not kept.exists():
                request = reader.request(footage, {"task": "film", "film": to_json(film)})
                answer = next(glovebox.map([request], cancelled))
                if isinstance(answer, BadInput):
                    refused.append(Refusal(file=footage.label, reason=str(answer)))
                    continue
                _keep(answer, kept)
            places += _places(footage, kept, reader)
    return places, refused


def _name(footage: Footage, film: Film) -> str:
    """A name that changes with the film and with the settings."""
    about = Path(footage.path).stat()
    told = [footage.path, footage.entry, about.st_size, about.st_mtime_ns, to_json(film)]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:24]


def _keep(answer: Reply, file: Path) -> None:
    """Write the frames of one answer as a zip whose entries are named by their seconds."""
    header, content = answer
    require_space(file.parent, len(content) + _SPARE_BYTES)
    temporary = temporary_beside(file)
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as packed:
            start = 0
            for place, (seconds, size) in enumerate(zip(header["seconds"], header["bytes"], strict=True)):
                packed.writestr(f"{place:04} at {float(seconds):08.2f} s.jpg", content[start : start + int(size)])
                start += int(size)
        put_in_place(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def _places(footage: Footage, kept: Path, reader: Reader) -> list[Place]:
    """The frames beside the film that they came from: a film is no class of its own."""
    return [
        Place(label=f"{footage.label} {entry.label[5:]}", path=str(kept), entry=entry.index)
        for entry in reader.archive(str(kept)).entries
    ]
