"""The feature network that is at hand: torchvision's where it has been downloaded, else our small one.

Nothing is unpickled: ours is safetensors, torchvision's is read by torch's own weights-only loader, and both must have
the names and shapes that the network expects.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.error import URLError
from urllib.parse import urlparse

import torch
import torch.onnx  # torchvision and torch.jit.trace import parts of it, and fail if two threads meet in there
from torch import Tensor, nn

from studio.errors import BadInput, Damaged, NotFound
from studio.features.fitting import coloured, fitted
from studio.features.network import SmallNetwork
from studio.ops.distances import near_pairs
from studio.paths import bundled

NAMES = ("auto", "small", "torchvision")
_BATCH = 64
_TORCHVISION_SIDE_PX = 224
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_DAMAGED = (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, OSError, ValueError, TypeError)


@dataclass(frozen=True, kw_only=True)
class Extractor:
    """Pictures as vectors, one network for a whole process. Hold on to it: loading costs more than asking.

    Attributes:
        name: "small" or "torchvision".
        dim: width of a vector.
        describe: a sentence for people.
        near_duplicate: two pictures whose vectors have a cosine distance (1 - cosine) of at most this are the same
            picture to the eye, saved anew: smaller, compressed or a little lighter. Of those that were also trimmed it
            finds most. Measured for "small" (its card in assets/features); for "torchvision" it is a guess.
        network: pictures [n, c, h, w] in [-1, 1] -> vectors [n, dim], on `device`, differentiable.
        device: where it computes.
    """

    name: str
    dim: int
    describe: str
    near_duplicate: float
    network: Callable[[Tensor], Tensor]
    device: torch.device

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        """Pictures float [n, 1, 3 or 4, h, w] in [-1, 1], of any size -> vectors [n, dim], float32, on the processor.

        Computed in float32 and in parts, so that any number fits. The fourth channel is put on white.

        Raises:
            ValueError: another number of axes or channels.
        """
        parts = [self.network(part.to(self.device, torch.float32)).cpu() for part in torch.split(pictures, _BATCH)]
        return torch.cat(parts) if len(pictures) else torch.zeros(0, self.dim)

    def near_duplicates(self, vectors: Tensor) -> list[tuple[int, int]]:
        """The pairs of rows [n, dim] that are nearly the same picture, (i, j) with i < j, in order."""
        return near_pairs(vectors, self.near_duplicate)


def load(name: str = "auto", device: torch.device | str | None = None) -> Extractor:
    """Open a feature network.

    Args:
        name: "small" is ours; "torchvision" is EfficientNet-B0, downloaded once (20 MB); "auto" is torchvision's where
            its file is here already and whole, else ours. It never downloads.
        device: where it shall compute; None is the processor.

    Raises:
        BadInput: no such name. NotFound: it is not here and cannot be downloaded. Damaged: its file is broken.
    """
    if name not in NAMES:
        raise BadInput(f"There is no feature network called {name!r}.", f"Choose one of {', '.join(NAMES)}.")
    place = torch.device(device or "cpu")
    if name == "torchvision":
        return _torchvision(place)
    if name == "auto" and _cached().is_file():
        try:
            return _torchvision(place)
        except Damaged:
            pass
    return _small(place)


def load_small(device: torch.device | str | None = None) -> SmallNetwork:
    """Our own network alone, frozen, for what needs its feature maps: projection, perceptual losses, projected critics.

    Raises:
        Damaged: its file is missing, broken or of another network.
    """
    return shipped(SmallNetwork, bundled("assets") / "features" / "small.safetensors", device or "cpu")


Kind = TypeVar("Kind", bound=nn.Module)


def shipped(kind: Callable[[], Kind], path: Path, device: torch.device | str) -> Kind:
    """A network that comes with the studio, frozen, from its file. Raises Damaged: that is missing, broken or another's."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    with torch.device("meta"):
        network = kind()
    try:
        _fill(network, load_file(path))
    except (SafetensorError, *_DAMAGED) as error:
        raise Damaged(f"The feature network {path.name} cannot be read.", "Install the studio again.") from error
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last).to(device)


def _small(device: torch.device) -> Extractor:
    network = load_small(device)
    describe = "Our own small network, taught without labels on paintings, plates, icons, emoji, sprites and clothes."
    return Extractor(
        name="small", dim=network.dim, describe=describe, near_duplicate=0.04, network=network, device=device
    )


class _Pretrained(nn.Module):
    """EfficientNet-B0 without its last layer, fed as it was trained."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(_MEAN).reshape(3, 1, 1))
        self.register_buffer("deviation", torch.tensor(_DEVIATION).reshape(3, 1, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        bright = (fitted(coloured(pictures), _TORCHVISION_SIDE_PX) + 1) / 2
        vectors: Tensor = self.network((bright - self.mean) / self.deviation)
        return vectors


def _torchvision(device: torch.device) -> Extractor:
    """EfficientNet-B0 (Tan & Le 2019) of torchvision, 1280 numbers a picture."""
    from torchvision.models import efficientnet_b0  # type: ignore[import-untyped]

    with torch.device("meta"):
        network = efficientnet_b0()
    try:
        _fill(network, _torchvision_weights())
    except _DAMAGED as error:
        raise Damaged(
            f"The feature network {_cached().name} cannot be read.", f"Delete {_cached()} and download it again."
        ) from error
    network.classifier = nn.Identity()
    wrapped = _Pretrained(network).eval().requires_grad_(False).to(device)
    return Extractor(
        name="torchvision", dim=1280, describe="EfficientNet-B0 from torchvision, taught on the photographs of ImageNet.",
        near_duplicate=0.05, network=wrapped, device=device,
    )  # fmt: skip


def _cached() -> Path:
    """Where torch keeps torchvision's file once it is downloaded."""
    from torchvision.models import EfficientNet_B0_Weights

    name = Path(urlparse(EfficientNet_B0_Weights.IMAGENET1K_V1.url).path).name
    return Path(torch.hub.get_dir()) / "checkpoints" / name


def _torchvision_weights() -> dict[str, Tensor]:
    """What the file says, downloaded by torchvision, which compares its hash, if it is not here."""
    from torchvision.models import EfficientNet_B0_Weights

    if not _cached().is_file():
        try:
            EfficientNet_B0_Weights.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True, weights_only=True)
        except (URLError, ConnectionError, TimeoutError) as error:
            raise NotFound(
                "The pretrained feature network cannot be downloaded.",
                "Connect to the internet and try again, or choose the small one, which is here already.",
            ) from error
    weights: dict[str, Tensor] = torch.load(_cached(), map_location="cpu", weights_only=True)
    return weights


def _fill(network: nn.Module, weights: dict[str, Tensor]) -> None:
    """Give weights to a network that has none yet. ValueError or RuntimeError unless they have exactly its names and
    shapes, and finite values."""
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise ValueError("not a table of tensors")
    full = {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}
    if not all(bool(value.isfinite().all()) for value in full.values()):
        raise ValueError("values that are no numbers")
    network.load_state_dict(full, assign=True)
