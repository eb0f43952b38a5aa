"""Any picture as a feature network wants it: three channels, square, of one size."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def coloured(pictures: Tensor) -> Tensor:
    """Pictures [n, c, h, w] in [-1, 1] -> [n, 3, h, w]: grey repeated, transparency (the fourth channel) put on white.

    Raises:
        ValueError: not four axes, or not 1, 3 or 4 channels.
    """
    if pictures.ndim != 4 or pictures.shape[1] not in (1, 3, 4):
        raise ValueError(f"pictures [n, 1, 3 or 4, h, w] are wanted, not {list(pictures.shape)}")
    if pictures.shape[1] == 4:
        opaque = (pictures[:, 3:] + 1) / 2
        return pictures[:, :3] * opaque + (1 - opaque)
    return pictures.expand(-1, 3, -1, -1)


def fitted(pictures: Tensor, side_px: int) -> Tensor:
    """Pictures [n, c, h, w] -> [n, c, side_px, side_px], without aliasing; what is not square is squeezed.

    Differentiable. Pictures that have the size already are returned as they are.
    """
    if pictures.shape[-2:] == (side_px, side_px):
        return pictures
    shrinks = max(pictures.shape[-2:]) > side_px  # where nothing does, the same comes out sooner
    return F.interpolate(pictures, (side_px, side_px), mode="bilinear", align_corners=False, antialias=shrinks)
