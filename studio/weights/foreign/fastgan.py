"""FastGAN's `.pth` files and the FastGAN pickles of Projected GAN -> our FastGAN."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from studio.errors import BadInput
from studio.weights.foreign.contents import Candidate, Contents, Imported, Record, module_tensors, tensors

_FIRST = "init.init.0."
_BUFFERS = ("weight_u", "weight_v", "running_mean", "running_var", "num_batches_tracked")
_LAST = ("feat_", "se_")
_CHANNELS = {8: 8.0, 16: 4.0, 32: 2.0, 64: 2.0, 128: 1.0, 256: 0.5, 512: 0.25, 1024: 0.125}
_DOUBLED = {"paper": {8, 32, 128, 512}, "all": set(_CHANNELS), "none": set[int]()}
_FITS = "Only networks with the authors' own layers can be read."

Arrays = dict[str, np.ndarray]


def read(contents: Contents) -> Imported | None:
    """A FastGAN generator in any of its files; None if there is none.

    Raises:
        BadInput: it is one, but incomplete or of an unknown shape.
    """
    return _read_pickle(contents) or _read_checkpoint(contents)


def _read_checkpoint(contents: Contents) -> Imported | None:
    weights, warnings = _checkpoint_weights(contents.tree)
    if f"{_FIRST}weight_orig" not in weights and f"{_FIRST}weight" not in weights:
        return None
    weights = fold_spectral_normalisation(weights)
    settings = _settings(weights, projected=False)
    settings["tanh"] = settings["resolution"] == 1024
    weights = _needed(weights, settings["resolution"])
    return _imported("FastGAN (Liu et al.), PyTorch checkpoint", settings, weights, warnings=warnings)


def _read_pickle(contents: Contents) -> Imported | None:
    generator = contents.tree.get("G_ema") if isinstance(contents.tree, dict) else contents.tree
    if not isinstance(generator, Record) or "networks_fastgan" not in generator.name:
        return None
    weights = module_tensors(generator)
    weights = {name.removeprefix("synthesis."): value for name, value in weights.items()}
    if f"{_FIRST}weight_orig" not in weights and f"{_FIRST}weight" not in weights:
        raise BadInput("This Projected GAN file holds no complete generator.", "Download it again.")
    weights = fold_spectral_normalisation(weights)
    settings = _settings(weights, projected=True, stated=generator.attribute("img_resolution"))
    weights = _needed(weights, settings["resolution"])
    if "embed.weight" in weights:
        stated = generator.attribute("c_dim")
        rows = len(weights["embed.weight"])
        settings["classes"] = min(stated, rows) if isinstance(stated, int) and stated > 0 else rows
        weights["embed.weight"] = weights["embed.weight"][: settings["classes"]]
    title = "FastGAN of Projected GAN (Sauer et al.), pickle"
    return _imported(title, settings, weights, kimg=_kimg(contents.tree))


def _imported(
    title: str, settings: dict[str, Any], weights: Arrays, *, kimg: float = 0.0, warnings: tuple[str, ...] = ()
) -> Imported:
    candidates = (
        Candidate(title="Normalised by what was learned", settings=settings),
        Candidate(title="Normalisation measured anew", settings=settings | {"calibrated": True}),
    )
    classes = tuple(str(number) for number in range(settings.get("classes", 0)))
    return Imported(
        family="fastgan", format=title, candidates=candidates, generator=weights, classes=classes, kimg=kimg,
        warnings=warnings,
    )  # fmt: skip


def _checkpoint_weights(tree: object) -> tuple[Arrays, tuple[str, ...]]:
    """The generator's state dict, with averaged parameters where they lie beside it as a bare list."""
    if not isinstance(tree, dict):
        return {}, ()
    places = [tree] + [tree.get(key) for key in ("g_ema", "g", "generator", "netG", "state_dict")]
    found = (_without_wrapper(place) for place in places)
    weights = next((state for state in found if any(name.startswith(_FIRST) for name in state)), {})
    averaged = tree.get("g_ema")
    if not weights or not isinstance(averaged, (list, tuple)):
        return weights, ()
    names = [name for name in weights if not name.endswith(_BUFFERS)]
    fits = len(names) == len(averaged) and all(
        isinstance(value, np.ndarray) and value.shape == weights[name].shape
        for name, value in zip(names, averaged, strict=True)
    )
    if not fits:
        return weights, ("Its averaged weights do not fit its network, so the latest weights are used instead.",)
    return weights | dict(zip(names, averaged, strict=True)), ()


def _without_wrapper(state: object) -> Arrays:
    """A state dict without the prefix that training on several devices leaves."""
    return {name.removeprefix("module."): value for name, value in tensors(state).items()}


def fold_spectral_normalisation(weights: Mapping[str, np.ndarray]) -> Arrays:
    """Divide each `weight_orig` by its largest singular value, as the vectors beside it say: `weight` remains.

    The transposed convolution at the start counts its outputs along its second dimension.
    """
    folded: Arrays = {}
    for name, value in weights.items():
        base = name.removesuffix("_orig")
        if base != name:
            left, right = weights.get(f"{base}_u"), weights.get(f"{base}_v")
            if left is None or right is None:
                raise BadInput("This FastGAN file lacks a part of its spectral normalisation.", "Use a complete copy.")
            folded[base] = _divided(value, left, right, outputs=1 if name.startswith(_FIRST) else 0)
        elif not name.endswith(("weight_u", "weight_v")):
            folded[name] = value
    return folded


def _divided(weight: np.ndarray, left: np.ndarray, right: np.ndarray, *, outputs: int) -> np.ndarray:
    if weight.ndim < 2 or not weight.size:
        raise BadInput("The spectral normalisation of this FastGAN file does not fit its weights.", _FITS)
    matrix = np.moveaxis(weight, outputs, 0).reshape(weight.shape[outputs], -1).astype(np.float64)
    if left.shape != matrix.shape[:1] or right.shape != matrix.shape[1:]:
        raise BadInput("The spectral normalisation of this FastGAN file does not fit its weights.", _FITS)
    largest = left.astype(np.float64) @ matrix @ right.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (weight.astype(np.float64) / largest).astype(np.float32)


def _settings(weights: Mapping[str, np.ndarray], *, projected: bool, stated: object = None) -> dict[str, Any]:
    """What the shapes say."""
    first, last = weights[f"{_FIRST}weight"], weights.get("to_big.weight")
    if first.ndim != 4 or last is None or last.ndim != 4:
        raise BadInput("This FastGAN file lacks its first or its last layer.", _FITS)
    width = first.shape[1] // 32
    sizes = [size for size in _CHANNELS if any(name.startswith(f"feat_{size}.") for name in weights)]
    fitting = [size for size in sizes if int(_CHANNELS[size] * width) == last.shape[1]]
    if not fitting:
        raise BadInput("The layers of this FastGAN file do not fit each other.", _FITS)
    resolution = stated if isinstance(stated, int) and stated in fitting else fitting[-1]
    return {
        "resolution": resolution,
        "channels": last.shape[0],
        "z_dim": first.shape[0],
        "width": width,
        "projected": projected,
        "doubled": _doubled(weights, [size for size in sizes if size <= resolution]),
    }


def _doubled(weights: Iterable[str], sizes: list[int]) -> str:
    """Which of the three known choices of scales have two convolutions."""
    names = set(weights)
    found = {size for size in sizes if {f"feat_{size}.5.weight", f"feat_{size}.conv2.weight"} & names}
    for choice, doubled in _DOUBLED.items():
        if found == doubled & set(sizes):
            return choice
    raise BadInput("This FastGAN has its layers at other places than the authors' networks.", _FITS)


def _needed(weights: Arrays, resolution: int) -> Arrays:
    """Without the head for small pictures and without blocks finer than the picture, which nothing reads."""
    kept = {name: value for name, value in weights.items() if not name.startswith("to_128.")}
    return {name: value for name, value in kept.items() if _size(name) <= resolution}


def _size(name: str) -> int:
    kind, _, size = name.partition(".")[0].partition("_")
    return int(size) if f"{kind}_" in _LAST and size.isdecimal() else 0


def _kimg(tree: object) -> float:
    """Thousands of pictures seen, if the pickle says."""
    progress = tree.get("progress") if isinstance(tree, dict) else None
    seen = progress.get("cur_nimg", 0) if isinstance(progress, dict) else 0
    number = float(seen) if isinstance(seen, (int, float)) or (isinstance(seen, np.ndarray) and seen.size == 1) else 0.0
    return number / 1000 if 0 <= number < 1e12 else 0.0
