"""The dataset doctor: what could be mended in an upload before it trains, each with the pictures and one remedy.

Nothing is mended here. A finding names either pictures to leave out or settings to change; both can be undone.
Pure functions over the report of a scan and the vitals of its pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from studio.data.alike import equal_groups
from studio.data.choices import Choices
from studio.data.marks import lettered, stamped
from studio.data.prepare import PrepareSettings, suggest
from studio.data.scan import Picture, Scanned
from studio.data.vitals import Vitals
from studio.errors import BadInput

Features = NDArray[np.float32]
"""One vector for each picture, [n, dim]."""

ENLARGED = 1.6
ELONGATED = 2.2
_NEIGHBOURS = 4
_FEWEST_FOR_OUTLIERS = 20
_FAR = 3.0
_STANDS_OUT = 2.0
_MOST_OUTLIERS = 0.04
_SURELY_ALIKE = 0.985
_CUTS = (0.02, 0.05, 0.08)
_LOOKED_AT_AGAIN = 0.9
_COARSE_PX = 12
_FLAT = 4.0
_DARK, _BRIGHT = 70.0, 195.0
_UNEVEN = 45.0
_MOST_GREY_LEFT_OUT = 1 / 3


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that could be mended.

    Attributes:
        topic: a short name, the same for the same kind of finding.
        sentence: what was seen.
        remedy: the words of the button: what a click does.
        pictures: ids of the pictures concerned, the clearest first; pictures that belong together stand together.
        leave_out: ids that the click leaves out.
        settings: fields of `PrepareSettings` that the click changes.
        same: ids of pictures that are the same; while the settings are so, the first of each group that is not left
            out stands for all of it.
    """

    topic: str
    sentence: str
    remedy: str
    pictures: tuple[str, ...]
    leave_out: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    same: tuple[tuple[str, ...], ...] = ()

    def is_mended(self, settings: PrepareSettings, choices: Choices) -> bool:
        """Whether pictures that are prepared so have this no more."""
        left_out = set(choices.left_out)
        if self.leave_out:
            return set(self.leave_out) <= left_out
        if self.same and all(len(set(group) - left_out) < 2 for group in self.same):
            return True
        return all(getattr(settings, name) == value for name, value in self.settings.items())


@dataclass(frozen=True, kw_only=True)
class _Patient:
    """All that the findings are made of."""

    pictures: tuple[Picture, ...]
    vitals: tuple[Vitals, ...]
    scanned: Scanned
    settings: PrepareSettings
    features: Features | None

    @property
    def things(self) -> bool:
        """Whether these are mostly things on a plain ground, and not views that fill the picture."""
        loose = sum(vitals.plain and not any(vitals.border) for vitals in self.vitals)
        framed = sum(any(vitals.border) for vitals in self.vitals)
        return loose > max(framed, len(self.vitals) / 4)

    def ids(self, positions: Iterable[int]) -> tuple[str, ...]:
        return tuple(self.pictures[position].id for position in positions)

    def where(self, true_of: Callable[[Picture, Vitals], bool]) -> list[int]:
        both = zip(self.pictures, self.vitals, strict=True)
        return [position for position, (picture, vitals) in enumerate(both) if true_of(picture, vitals)]


def examine(scanned: Scanned, features: Features | None = None) -> tuple[Finding, ...]:
    """All findings on an upload, the weightiest first. Without features, outliers are not looked for.

    Where most pictures show things on a plain ground, frames, light and grey ones say nothing and are passed over.

    Args:
        features: float32 [n, dim], a vector for each picture of the report, near for pictures that look alike.
    """
    report = scanned.report
    patient = _Patient(
        pictures=report.pictures, vitals=scanned.vitals, scanned=scanned, settings=suggest(report), features=features
    )
    return tuple(finding for look in _LOOKS.values() if (finding := look(patient)) is not None)


def topics_named(words: Iterable[str]) -> tuple[str, ...]:
    """The topics that people named; "all" is every one.

    Raises:
        BadInput: the doctor looks for nothing of that name.
    """
    named = tuple(word.lower() for word in words)
    wrong = next((word for word in named if word not in (*TOPICS, ALL)), "")
    if wrong:
        raise BadInput(
            f"The doctor looks for nothing called {wrong[:40]!r}.", f"It knows {', '.join(TOPICS)}, and {ALL} of them."
        )
    return TOPICS if ALL in named else named


def mended(findings: Iterable[Finding], topics: Iterable[str]) -> tuple[Choices, dict[str, Any]]:
    """What mending all findings on these topics leaves out, and which settings of `PrepareSettings` it changes."""
    chosen = [finding for finding in findings if finding.topic in set(topics)]
    settings = {name: value for finding in chosen for name, value in finding.settings.items()}
    return Choices().without(id for finding in chosen for id in finding.leave_out), settings


def _said(count: int, one: str, many: str) -> str:
    """A sentence about one picture, or about several."""
    return one if count == 1 else many.format(count=f"{count:,}")


def _leave_out(count: int) -> str:
    return _said(count, "Leave it out", "Leave out {count}")


def _to_leave_out(patient: _Patient, topic: str, positions: Sequence[int], one: str, many: str) -> Finding | None:
    """A finding whose remedy is to leave out all pictures concerned; None where there are none."""
    if not positions:
        return None
    ids = patient.ids(positions)
    return Finding(
        topic=topic, sentence=_said(len(ids), one, many), remedy=_leave_out(len(ids)), pictures=ids, leave_out=ids
    )


# ── the same twice ──


def _copies(patient: _Patient) -> Finding | None:
    groups = equal_groups(picture.pixel_hash for picture in patient.pictures)
    if not groups:
        return None
    copies = sum(len(group) - 1 for group in groups)
    sentence = _said(copies, "1 picture is an exact copy of another.", "{count} pictures are exact copies of others.")
    return Finding(
        topic="copies", sentence=sentence, remedy="Keep one of each",
        pictures=patient.ids(position for group in groups for position in group),
        settings={"drop_duplicates": True}, same=tuple(map(patient.ids, groups)),
    )  # fmt: skip


def _alike(patient: _Patient) -> Finding | None:
    """Near-duplicates by their hashes, and pairs that a closer look confirms."""
    places = {picture.place.label: position for position, picture in enumerate(patient.pictures)}
    groups = [[places[label] for label in group] for group in patient.scanned.report.near_duplicates]
    groups = _joined(groups, _pairs(patient))
    if not groups:
        return None
    ordered = [sorted(group, key=lambda position: -_area(patient.pictures[position])) for group in groups]
    spare = patient.ids(position for group in ordered for position in group[1:])
    sentence = _said(
        len(spare), "1 picture is nearly the same as another.", "{count} pictures are nearly the same as others."
    )
    return Finding(
        topic="alike", sentence=f"{sentence} The model would learn them too well.", remedy=_leave_out(len(spare)),
        pictures=patient.ids(position for group in ordered for position in group), leave_out=spare,
    )  # fmt: skip


def _area(picture: Picture) -> int:
    return picture.width * picture.height


def _joined(groups: list[list[int]], pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The groups, enlarged and merged by pairs that belong together."""
    group_of: dict[int, set[int]] = {}
    for together in [*groups, *map(list, pairs)]:
        merged = set(together).union(*(group_of.get(position, set()) for position in together))
        group_of |= dict.fromkeys(merged, merged)
    unique = {id(group): group for group in group_of.values()}
    return sorted(sorted(group) for group in unique.values())


def _pairs(patient: _Patient) -> Iterator[tuple[int, int]]:
    """The same picture in another size, cut or light, by features; and mirrored, which features often miss."""
    if patient.vitals:
        small = np.stack([_cut(_colours(vitals), 0, _COARSE_PX) for vitals in patient.vitals])
        rows, flipped = (_unit(views.reshape(len(views), -1), axis=1) for views in (small, small[:, :, ::-1]))
        yield from _confirmed(patient, _nearest(rows, flipped))
    if patient.features is not None:
        unit = _unit(patient.features, axis=0)
        yield from _confirmed(patient, _nearest(unit, unit))


def _confirmed(patient: _Patient, nearest: Iterable[tuple[int, float]]) -> Iterator[tuple[int, int]]:
    """Those of the pairs that are alike at a closer look; exact copies are not among them."""
    for position, (other, likeness) in enumerate(nearest):
        same_pixels = patient.pictures[position].pixel_hash == patient.pictures[other].pixel_hash
        if likeness >= _LOOKED_AT_AGAIN and not same_pixels and _same_picture(patient.vitals, position, other):
            yield position, other


def _nearest(unit: Features, among: Features) -> list[tuple[int, float]]:
    """For each row the position of the most similar row `among` the others, and the cosine between them."""
    found = []
    for start in range(0, len(unit), 1024):
        cosines = unit[start : start + 1024] @ among.T
        cosines[np.arange(len(cosines)), np.arange(start, start + len(cosines))] = -1
        best = cosines.argmax(axis=1)
        found += [(int(place), float(cosines[row, place])) for row, place in enumerate(best)]
    return found


def _same_picture(vitals: Sequence[Vitals], first: int, second: int) -> bool:
    """Whether the miniatures agree once light is evened, perhaps mirrored, or with the edges of one of them cut off."""
    one, other = (_colours(vitals[position]) for position in (first, second))
    pairs = [(_cut(one, near), _cut(other, far)) for near, far in ((0, 0), *((0, cut) for cut in _CUTS))]
    pairs += [(_cut(one, cut), _cut(other, 0)) for cut in _CUTS]
    return any(
        _agreement(shown, view) >= _SURELY_ALIKE for shown, whole in pairs for view in (whole, whole[:, ::-1])
    )  # fmt: skip


def _colours(vitals: Vitals) -> Image.Image:
    return Image.fromarray(vitals.mini)


def _cut(image: Image.Image, share: float, side: int = 24) -> NDArray[np.float32]:
    """float32 [side, side, 3]: a picture without `share` of it at each edge."""
    margin = share * image.width
    box = (margin, margin, image.width - margin, image.height - margin)
    return np.asarray(image.resize((side, side), Image.Resampling.BOX, box=box)).astype(np.float32)


def _agreement(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Correlation of two miniatures over all colours."""
    first, second = one - one.mean(), other - other.mean()
    size = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / size if size > 1e-3 else 0.0


# ── size, shape, frame ──


def _small(patient: _Patient) -> Finding | None:
    wanted = patient.settings.resolution
    small = patient.where(lambda picture, _: min(picture.width, picture.height) * ENLARGED < wanted)
    small.sort(key=lambda position: min(patient.pictures[position].width, patient.pictures[position].height))
    return _to_leave_out(
        patient, "small", small,
        f"1 picture is much smaller than {wanted} px and would be enlarged until it is blurred.",
        f"{{count}} pictures are much smaller than {wanted} px and would be enlarged until they are blurred.",
    )  # fmt: skip


def _shape(patient: _Patient) -> Finding | None:
    long = patient.where(lambda picture, _: _ratio(picture) > ELONGATED)
    long.sort(key=lambda position: -_ratio(patient.pictures[position]))
    one = "1 picture is much longer than it is wide: its middle square shows little of it."
    many = "{count} pictures are much longer than they are wide: their middle squares show little of them."
    if len(long) <= len(patient.pictures) / 5:
        return _to_leave_out(patient, "shape", long, one, many)
    return Finding(
        topic="shape", sentence=_said(len(long), one, many), remedy="Keep the part where most is to be seen",
        pictures=patient.ids(long), settings={"fit": "focus"},
    )  # fmt: skip


def _ratio(picture: Picture) -> float:
    return max(picture.width, picture.height) / min(picture.width, picture.height)


def _borders(patient: _Patient) -> Finding | None:
    framed = patient.where(lambda picture, _: any(picture.border))
    framed.sort(key=lambda position: -_framed_share(patient.pictures[position]))
    if not framed or patient.things:
        return None
    sentence = _said(
        len(framed),
        "1 picture has a frame or bars of one colour.",
        "{count} pictures have frames or bars of one colour.",
    )
    return Finding(
        topic="borders", sentence=f"{sentence} The model would learn to draw them.", remedy="Trim them",
        pictures=patient.ids(framed), settings={"trim_borders": True},
    )  # fmt: skip


def _framed_share(picture: Picture) -> float:
    left, top, right, bottom = picture.border
    return 1 - (1 - (left + right) / picture.width) * (1 - (top + bottom) / picture.height)


# ── what is on them ──


def _blank(patient: _Patient) -> Finding | None:
    blank = patient.where(lambda _, vitals: vitals.contrast < _FLAT)
    return _to_leave_out(
        patient, "blank", blank, "1 picture is blank, or nearly one colour.",
        "{count} pictures are blank, or nearly one colour.",
    )  # fmt: skip


def _overlays(patient: _Patient) -> Finding | None:
    if not patient.vitals:
        return None
    marked = sorted({*stamped(patient.vitals), *lettered(patient.vitals)})
    return _to_leave_out(
        patient, "text", marked, "1 picture may have text or a watermark on it.",
        "{count} pictures may have text or a watermark on them.",
    )  # fmt: skip


def _dark(patient: _Patient) -> Finding | None:
    dark = patient.where(lambda _, vitals: vitals.bright < _DARK and vitals.contrast >= _FLAT)
    return _to_leave_out(
        patient, "dark", dark, "1 picture is very dark.", "{count} pictures are very dark.",
    )  # fmt: skip


def _bright(patient: _Patient) -> Finding | None:
    bright = patient.where(lambda _, vitals: vitals.dark > _BRIGHT and vitals.contrast >= _FLAT)
    if patient.things:
        return None
    return _to_leave_out(
        patient, "bright", bright, "1 picture is very pale.", "{count} pictures are very pale.",
    )  # fmt: skip


def _light(patient: _Patient) -> Finding | None:
    """Brightness that varies wildly."""
    means = np.array([vitals.mean for vitals in patient.vitals])
    middle = float(np.median(means))
    if patient.things or float(np.std(means)) < _UNEVEN:
        return None
    far = [int(position) for position in np.argsort(-np.abs(means - middle)) if abs(means[position] - middle) > _UNEVEN]
    return Finding(
        topic="light", sentence="Some pictures are far darker or brighter than the others.",
        remedy="Even out brightness, gently", pictures=patient.ids(far), settings={"even_light": True},
    )  # fmt: skip


def _grey_ones(patient: _Patient) -> Finding | None:
    grey = patient.where(lambda picture, vitals: picture.grey and vitals.contrast >= _FLAT)
    share = len(grey) / len(patient.pictures)
    if not grey or patient.settings.colour == "grey" or patient.things:
        return None
    one, many = "1 picture is grey among coloured ones.", "{count} pictures are grey among coloured ones."
    if share <= _MOST_GREY_LEFT_OUT:
        return _to_leave_out(patient, "grey", grey, one, many)
    return Finding(
        topic="grey", sentence=_said(len(grey), one, many), remedy="Make all pictures grey",
        pictures=patient.ids(grey), settings={"colour": "grey"},
    )  # fmt: skip


# ── unlike all others ──


def _outliers(patient: _Patient) -> Finding | None:
    """Pictures whose nearest others are much farther away than is usual (Ramaswamy et al., SIGMOD 2000).

    In a set that is spread out many are somewhat far; so it must stand out from the farthest few, too. Blank pictures have
    a finding of their own.
    """
    shown = patient.where(lambda _, vitals: vitals.contrast >= _FLAT)
    if patient.features is None or len(shown) < _FEWEST_FOR_OUTLIERS:
        return None
    far = np.log(_distance_to_others(patient.features[shown]) + 1e-6)
    middle = float(np.median(far))
    spread = max(float(np.percentile(far, 84)) - middle, 1.4826 * float(np.median(np.abs(far - middle))), 0.02)
    strange = (far - middle) / spread
    order = [int(place) for place in np.argsort(-strange)]
    others = float(strange[order[1 + int(_MOST_OUTLIERS * len(order))]])
    found = [shown[place] for place in order if strange[place] > max(_FAR, _STANDS_OUT * others)]
    return _to_leave_out(
        patient, "outliers", found, "1 picture seems unlike all others.", "{count} pictures seem unlike all others."
    )


def _distance_to_others(features: Features) -> NDArray[np.float64]:
    """The distance of each row to its fourth nearest other."""
    centred = (features - features.mean(axis=0)).astype(np.float64)
    lengths = (centred**2).sum(axis=1)
    found = []
    for start in range(0, len(centred), 1024):
        some = slice(start, start + 1024)
        squares = lengths[some, None] + lengths - 2 * centred[some] @ centred.T
        found.append(np.partition(squares, _NEIGHBOURS, axis=1)[:, _NEIGHBOURS])
    return np.asarray(np.sqrt(np.maximum(np.concatenate(found), 0)))


def _unit(features: Features, axis: int) -> Features:
    """The rows with their mean along `axis` (0: of all rows, 1: of each) taken away, each of length 1."""
    centred = features - features.mean(axis=axis, keepdims=True)
    unit: Features = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)
    return unit


_LOOKS: Mapping[str, Callable[[_Patient], Finding | None]] = {
    "blank": _blank, "copies": _copies, "alike": _alike, "borders": _borders, "text": _overlays, "small": _small,
    "shape": _shape, "dark": _dark, "bright": _bright, "light": _light, "grey": _grey_ones, "outliers": _outliers,
}  # fmt: skip
TOPICS = tuple(_LOOKS)
ALL = "all"
