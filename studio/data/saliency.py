"""Where in a picture there is most to see: the spectral residual of Hou and Zhang (CVPR 2007), drawn towards the middle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

_SEEN_PX = 64
_MIDDLE = 0.6


def salient_square(image: Image.Image) -> tuple[float, float, float, float]:
    """The largest square of a picture where most is to be seen, as (left, top, right, bottom) in pixels.

    A picture in which nothing stands out gives the middle.
    """
    width, height = image.size
    side = min(width, height)
    weights = saliency(image)
    wide = width >= height
    along = weights.sum(axis=0 if wide else 1)
    start = _best_window(along, side / max(width, height)) * (max(width, height) - side)
    left, top = (start, 0.0) if wide else (0.0, start)
    return (left, top, left + side, top + side)


def saliency(image: Image.Image) -> NDArray[np.float64]:
    """How much each place draws the eye, float64 [64, 64] of the picture squeezed into a square; at least 0."""
    grey = np.asarray(image.convert("L").resize((_SEEN_PX, _SEEN_PX), Image.Resampling.BOX)).astype(np.float64)
    if np.ptp(grey) < 2:
        return np.ones((_SEEN_PX, _SEEN_PX))
    spectrum = np.fft.fft2(grey * _fading())
    strength = np.log(np.abs(spectrum) + 1e-9)
    residual = strength - _mean_of_neighbours(strength)
    seen = np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))) ** 2
    blurred = Image.fromarray((seen / seen.max() * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(2.5))
    return np.asarray(blurred).astype(np.float64) + 1.0


def _fading() -> NDArray[np.float64]:
    """A window that takes away the jump between opposite edges, which the Fourier transform would see."""
    line = np.minimum(1.0, np.minimum(np.arange(1, _SEEN_PX + 1), np.arange(_SEEN_PX, 0, -1)) / 6)
    return np.outer(line, line)


def _mean_of_neighbours(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of 3 x 3, around the edges too."""
    shifted = [np.roll(values, (down, across), (0, 1)) for down in (-1, 0, 1) for across in (-1, 0, 1)]
    mean: NDArray[np.float64] = np.mean(shifted, axis=0)
    return mean


def _best_window(along: NDArray[np.float64], share: float) -> float:
    """Where a window of `share` of the length holds most, from 0 (at the start) to 1 (at the end)."""
    count = len(along)
    size = max(1, round(share * count))
    if size >= count:
        return 0.0
    sums = np.convolve(along, np.ones(size), mode="valid")
    places = np.linspace(0.0, 1.0, len(sums))
    sums = sums * (1 - _MIDDLE * (places - 0.5) ** 2)
    best = np.flatnonzero(sums >= sums.max() * (1 - 1e-9))
    return float(places[best].mean())
