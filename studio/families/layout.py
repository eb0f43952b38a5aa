"""How a generator that is one plain stack of layers is laid out: numbers only, no network.

Each layer is a weighted sum (fully connected, a convolution, or a transposed one), then a normalisation and an
activation. Nearly every DCGAN and every fully connected generator of the last ten years can be written down so.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from studio.errors import BadInput
from studio.families.base import NetworkSettings
from studio.options import Checked, option

KINDS = ("transposed", "convolution", "linear")
NORMS = ("none", "batch", "flat_batch", "instance", "group", "layer")
ACTIVATIONS = (
    "none", "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "softplus", "tanh", "sigmoid", "prelu", "channel_prelu",
)  # fmt: skip
LABEL_INPUTS = ("beside", "embedded_before", "embedded_after", "times")

_MOST_LAYERS = 64
_LARGEST_KERNEL = 16
_MOST_WEIGHTS = 600_000_000
_MOST_FEATURES = 1 << 28


@dataclass(frozen=True, kw_only=True)
class Layer(Checked):
    """One layer of a stack.

    Attributes:
        kind: "linear" reads all numbers at once and makes `kernel` x `kernel` pictures of them.
        width: feature maps that it makes.
        kernel, stride, padding, output_padding: as in torch; `kernel` of a linear layer is the size that it makes.
        enlarge: how much a convolution's input is enlarged first: 1 not at all.
        smooth: whether it is enlarged bilinearly, not by repeating pixels.
        bias: whether a number is added to each feature map.
        norm: "batch" by the statistics of training for each map; "flat_batch" for each number, after a linear layer;
            "instance", "group" and "layer" by those of the picture itself.
        groups: of "group".
        affine: whether the normalisation has a gain and an offset of its own.
        epsilon: what the normalisation adds to the variance.
        norm_last: whether it follows the activation instead of the sum.
        activation: see ACTIVATIONS; "prelu" has one learned slope, "channel_prelu" one for each map.
        slope: of "leaky_relu" below zero.
    """

    kind: str = option("transposed", help="How numbers are summed.", choices=KINDS)
    width: int = option(64, help="Feature maps that it makes.", low=1, high=1 << 20)
    kernel: int = option(4, help="Width and height of the window.", low=1, high=2048)
    stride: int = option(2, help="Pixels from window to window.", low=1, high=8)
    padding: int = option(1, help="Pixels around the picture.", low=0, high=_LARGEST_KERNEL)
    output_padding: int = option(0, help="Pixels that a transposed convolution adds.", low=0, high=7)
    enlarge: int = option(1, help="How much the input is enlarged before a convolution.", low=1, high=16)
    smooth: bool = option(False, help="Enlarge bilinearly instead of repeating pixels.")
    bias: bool = option(False, help="Add a number to each feature map.")
    norm: str = option("none", help="How feature maps are normalised.", choices=NORMS)
    groups: int = option(1, help="Groups of maps that are normalised together.", low=1, high=4096)
    affine: bool = option(True, help="Give the normalisation a gain and an offset.")
    epsilon: float = option(1e-5, help="Added to the variance.", low=0, high=1)
    norm_last: bool = option(False, help="Normalise after the activation.")
    activation: str = option("relu", help="The nonlinearity.", choices=ACTIVATIONS)
    slope: float = option(0.2, help="Of the leaky ReLU below zero.", low=0, high=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        linear = self.kind == "linear"
        if not linear and (self.kernel > _LARGEST_KERNEL or self.padding >= self.kernel + self.stride):
            raise BadInput("A layer's window is impossibly large.", "Import the model again.")
        if self.kind == "transposed" and (self.output_padding >= self.stride or self.enlarge > 1):
            raise BadInput("A transposed layer adds more pixels than it can.", "Import the model again.")
        if (self.norm == "flat_batch" and not linear) or (self.norm == "group" and self.width % self.groups):
            raise BadInput("A layer's normalisation does not fit it.", "Import the model again.")

    def size_after(self, size: int) -> int:
        """Width and height in pixels of what it makes from pictures `size` wide; may be below 1 if it cannot."""
        if self.kind == "linear":
            return self.kernel
        if self.kind == "transposed":
            return (size - 1) * self.stride - 2 * self.padding + self.kernel + self.output_padding
        return (size * self.enlarge + 2 * self.padding - self.kernel) // self.stride + 1

    def weights(self, inputs: int, size: int) -> int:
        """How many numbers its weight holds, for `inputs` maps of `size` pixels."""
        if self.kind == "linear":
            return inputs * size**2 * self.width * self.kernel**2
        return inputs * self.width * self.kernel**2


@dataclass(frozen=True, kw_only=True)
class StackSettings(NetworkSettings):
    """What a family of plain stacks needs to know.

    Attributes:
        layers: the stack, where it is not the family's standard one; from imported models.
        label_input: how a label meets the latent: "beside" it as it is, "embedded_before" or "embedded_after" it, or
            "times" it, embedded.
        label_width: width of an embedded label.
        black, white: the network's own numbers for black and white, which become -1 and 1.
    """

    z_dim: int = option(100, help="Width of the latent that seeds are turned into.", low=1, high=4096)
    spectral_norm: bool = option(
        False, help="Bound the critic's layers instead of normalising what they see: steadier.", advanced=True
    )
    minibatch_kernels: int = option(
        0,
        help="How many ways the critic compares the pictures of a batch, against all looking alike; 0 for none.",
        low=0,
        high=256,
        advanced=True,
    )
    layers: tuple[Layer, ...] = ()
    label_input: str = "beside"
    label_width: int = 0
    black: float = -1.0
    white: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.layers) > _MOST_LAYERS or not -1000 <= self.black < self.white <= 1000:
            raise BadInput("The network's settings are impossible.", "Import the model again.")
        self._check_label()
        if self.layers:
            self._check_layers()

    @property
    def stack(self) -> tuple[Layer, ...]:
        """The layers: the given ones, else the family's standard."""
        return self.layers or self.standard()

    @property
    def inputs(self) -> int:
        """Numbers that enter the first layer."""
        added = {"beside": self.classes, "times": 0}.get(self.label_input, self.label_width)
        return self.z_dim + added

    @property
    def sizes(self) -> tuple[int, ...]:
        """Width in pixels before each layer, and last that of the picture."""
        return tuple(itertools.accumulate(self.stack, lambda size, layer: layer.size_after(size), initial=1))

    def standard(self) -> tuple[Layer, ...]:
        """The family's own stack for these settings."""
        raise NotImplementedError

    def _check_label(self) -> None:
        embedded = self.label_input != "beside"
        if self.label_input not in LABEL_INPUTS or not 0 <= self.label_width <= 4096:
            raise BadInput(f"A label cannot enter as {self.label_input[:40]!r}.", "Import the model again.")
        if embedded != bool(self.label_width) or (embedded and not self.classes):
            raise BadInput("The network's label and its classes do not agree.", "Import the model again.")
        if self.label_input == "times" and self.label_width != self.z_dim:
            raise BadInput("The network's label and its latent do not agree.", "Import the model again.")

    def _check_layers(self) -> None:
        sizes, total, inputs = self.sizes, 0, self.inputs
        for layer, before, after in zip(self.layers, sizes, sizes[1:], strict=False):
            if not 1 <= after <= 2048 or layer.width * (before * layer.enlarge) ** 2 > _MOST_FEATURES:
                raise BadInput("The network's layers do not fit each other.", "Import the model again.")
            total += layer.weights(inputs, before)
            inputs = layer.width
        if total > _MOST_WEIGHTS:
            raise BadInput("The network is larger than the studio can play.", "Choose a smaller model.")
        if (sizes[-1], inputs) != (self.resolution, self.channels):
            raise BadInput(
                f"The network's layers make {sizes[-1]} px pictures with {inputs} channels, "
                f"not {self.resolution} px with {self.channels}.",
                "Import the model again.",
            )
