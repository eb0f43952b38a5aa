"""What the artist chose for single pictures of an upload: which are left out, and squares that were drawn by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from studio.data.cuts import Box
from studio.errors import BadInput

_LEAST_SHARE = 0.02


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Kept with the upload; an empty one changes nothing.

    Attributes:
        left_out: ids of pictures that are not used.
        squares: for ids of pictures the part to use, as shares of width and height.
    """

    left_out: tuple[str, ...] = ()
    squares: Mapping[str, Box] = field(default_factory=dict)

    def without(self, ids: Iterable[str]) -> Choices:
        """The same, with these pictures left out as well."""
        return replace(self, left_out=tuple(sorted({*self.left_out, *ids})))

    def again_with(self, ids: Iterable[str]) -> Choices:
        """The same, with these pictures taken back."""
        return replace(self, left_out=tuple(sorted(set(self.left_out) - set(ids))))

    def cropped(self, id: str, box: Box | None) -> Choices:
        """The same, with a part chosen for one picture; None gives it back to the settings.

        Raises:
            BadInput: a part outside the picture, or hardly any of it.
        """
        others = {other: kept for other, kept in self.squares.items() if other != id}
        if box is None:
            return replace(self, squares=others)
        left, top, right, bottom = box
        inside = left >= -1e-6 and top >= -1e-6 and right <= 1 + 1e-6 and bottom <= 1 + 1e-6
        if not inside or right - left < _LEAST_SHARE or bottom - top < _LEAST_SHARE:
            raise BadInput("This part is not inside the picture, or nearly nothing.", "Draw the square again.")
        return replace(self, squares={**others, id: (max(0.0, left), max(0.0, top), min(1.0, right), min(1.0, bottom))})
