"""What the families with a single latent share: z, and the label beside it, are the one style of a picture.

A family of this kind writes `synthesize` and `prepared`; the rest of the Generator protocol is here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from studio.families.base import NetworkSettings, Noise
from studio.ops import layers


class SingleLatent(nn.Module):
    """A generator whose one style is [z, label]; truncation scales z towards 0, the mean of all latents.

    Args:
        settings: of the family; a child narrows the type by annotating `settings` in its class body.
        z_dim: width of the input latent.
    """

    num_styles = 1
    noise_sizes: tuple[int, ...] = ()

    def __init__(self, settings: NetworkSettings, z_dim: int) -> None:
        super().__init__()
        self.settings = settings
        self.z_dim, self.classes = z_dim, settings.classes
        self.style_dim = z_dim + settings.classes
        self.resolution, self.channels = settings.resolution, settings.channels

    def map(self, z: Tensor, label: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        """z [n, z_dim], label [n, classes] -> styles [n, 1, z_dim + classes]; truncation scales z towards 0."""
        return torch.cat([z.float() * truncation, layers.label_rows(label, z, self.classes)], dim=1)[:, None]

    def synthesize(self, styles: Tensor, noise: Noise | None = None) -> Tensor:
        """styles [n, 1, style_dim] -> pictures [n, channels, r, r] in about [-1, 1], float32."""
        raise NotImplementedError

    def forward(self, z: Tensor, label: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """Latents straight to pictures."""
        return self.synthesize(self.map(z, label), noise)

    def constant_noise(self) -> Noise:
        """None: it has no noise inputs."""
        return ()

    def style_matrices(self) -> tuple[Tensor, ...]:
        """None: the latent is no style that layers read."""
        return ()
