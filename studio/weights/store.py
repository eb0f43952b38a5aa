"""Model folders: networks written to safetensors, and read back with every byte checked.

A file is read once; what is parsed is what was hashed. Nothing in a model folder is ever executed: weights are numbers
under the names that our own network has, and the family is a name in a closed table.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from studio.errors import BadInput, Damaged
from studio.families.base import Family, NetworkSettings, family, settings_from
from studio.options import to_json
from studio.paths import explain_disk, put_in_place, sync_folder, temporary_beside, write_file
from studio.weights.card import DISCRIMINATOR_FILE, PREVIEW_FILE, WEIGHTS_FILE, ModelCard, read_card, write_card

_HALF_LIMIT = 65504.0
_HEADER_BYTES = 4_000_000
_LARGEST_GROWTH = 4  # from stored bytes to those of a network being made
_CONSTANT_BYTES = 64_000_000  # what networks hold besides their weights
_READ_DTYPES = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})


def save_model(
    folder: Path,
    generator: nn.Module,
    card: ModelCard,
    *,
    discriminator: nn.Module | None = None,
    preview: bytes | None = None,
    half: bool = True,
) -> ModelCard:
    """Write a model folder, whole or not at all, and return the card with the checksums filled in.

    A model that is there already is replaced; between two renames the name is missing for an instant.

    Args:
        folder: the model's own folder; its parent must exist.
        preview: a WebP picture.
        half: store float16 where every value survives it (|x| < 65504); False keeps float32 bit for bit.

    Raises:
        BadInput: a weight is not a finite number, or the network does not fit the card.
        NoSpace: the disk is full; what was there before is untouched.
    """
    _check_fits(card, generator)
    temporary = temporary_beside(folder)
    temporary.mkdir()
    try:
        files = {WEIGHTS_FILE: save_weights(temporary / WEIGHTS_FILE, generator.state_dict(), half=half)}
        if discriminator is not None:
            tensors = discriminator.state_dict()
            files[DISCRIMINATOR_FILE] = save_weights(temporary / DISCRIMINATOR_FILE, tensors, half=half)
        if preview is not None:
            write_file(temporary / PREVIEW_FILE, preview)
            files[PREVIEW_FILE] = hashlib.sha256(preview).hexdigest()
        card = replace(card, files=files)
        write_card(temporary, card)
        _swap_in(temporary, folder)
    except OSError as error:
        raise explain_disk(error, folder) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return card


def load_card(folder: Path) -> ModelCard:
    """The card of a model folder. Raises NotFound or Damaged."""
    return read_card(folder)


def load_generator(folder: Path) -> tuple[nn.Module, ModelCard]:
    """The generator in a model folder, float32, in eval mode, on the CPU, and its card.

    Raises:
        NotFound: there is no such folder.
        Damaged: a file is missing, cut short, changed, or does not hold the weights of this network.
    """
    card = read_card(folder)
    return _load_network(folder / WEIGHTS_FILE, card, Family.generator), card


def load_discriminator(folder: Path) -> nn.Module | None:
    """The discriminator that was saved with a model, float32, in eval mode; None if there is none. Raises Damaged."""
    card = read_card(folder)
    if DISCRIMINATOR_FILE not in card.files:
        return None
    return _load_network(folder / DISCRIMINATOR_FILE, card, Family.discriminator)


def save_weights(
    path: Path, tensors: Mapping[str, Tensor], *, half: bool = False, about: Mapping[str, str] | None = None
) -> str:
    """Write tensors to one safetensors file, whole or not at all. Returns its sha256.

    Args:
        half: store floats as float16 where every value survives it; else each tensor keeps its type.
        about: short texts for the file's header.

    Raises:
        BadInput: a value is not finite.
        NoSpace: the disk is full.
    """
    stored = {name: _storable(name, tensor, half) for name, tensor in tensors.items()}
    content = safetensors.torch.save(stored, metadata={"format": "pt", **(about or {})})
    write_file(path, content)
    return hashlib.sha256(content).hexdigest()


def load_weights(path: Path, expected: Mapping[str, Tensor], *, title: str, sha256: str = "") -> dict[str, Tensor]:
    """Read a safetensors file that must hold tensors of the names, shapes and kinds of `expected`, all finite.

    Returns new CPU tensors of the expected types. An empty `sha256` is not compared.

    Raises:
        Damaged: anything at all is not as expected; the sentence names `title`.
    """
    content = _read(path, title, largest=_HEADER_BYTES + sum(8 * tensor.numel() for tensor in expected.values()))
    if sha256 and hashlib.sha256(content).hexdigest() != sha256:
        raise _damaged(title, "its weights have changed since they were saved")
    tensors = _parse(content, title)
    if missing := sorted(set(expected) - set(tensors)):
        raise _damaged(title, f"its weights lack {missing[0][:80]!r}")
    if unknown := sorted(set(tensors) - set(expected)):
        raise _damaged(title, f"its weights hold {unknown[0][:80]!r}, which its network does not have")
    return {name: _fitted(name, tensors[name], like, title) for name, like in expected.items()}


def load_network(create: Callable[[], nn.Module], path: Path, *, title: str, sha256: str = "") -> nn.Module:
    """The network that `create` makes, with the weights of a safetensors file, in eval mode. See `load_weights`.

    Raises:
        Damaged: anything is not as expected, or the network would be far larger than the file; it is not made then.
    """
    try:
        largest_bytes = _LARGEST_GROWTH * path.stat().st_size + _CONSTANT_BYTES
    except OSError:
        raise _damaged(title, f"its file {path.name} is missing or cannot be read") from None
    try:
        network = build_empty(create, largest_bytes=largest_bytes)
    except _TooLarge:
        raise _damaged(title, "its network would be far larger than its weights") from None
    weights = load_weights(path, network.state_dict(), title=title, sha256=sha256)
    network.load_state_dict(weights, strict=True, assign=True)
    return network.eval()


def build_empty(create: Callable[[], nn.Module], *, largest_bytes: float = math.inf) -> nn.Module:
    """A network whose random initial weights are not drawn: for loading into. Touches no random state."""
    with _NoRandomNumbers(largest_bytes):
        return create()


class _TooLarge(Exception):
    """A network wants more memory than it may."""


class _NoRandomNumbers(TorchFunctionMode):
    """Makes zeros where a network would draw random weights, and so many bytes of them at most."""

    _created = frozenset({torch.randn, torch.rand, torch.empty})
    _filled = frozenset(
        {torch.Tensor.normal_, torch.Tensor.uniform_, nn.init.normal_, nn.init.uniform_, nn.init.trunc_normal_}
        | {nn.init.kaiming_uniform_, nn.init.kaiming_normal_, nn.init.xavier_uniform_, nn.init.xavier_normal_}
        | {nn.init.orthogonal_}
    )

    _sized = _created | {torch.zeros, torch.ones, torch.full}

    def __init__(self, largest_bytes: float) -> None:
        super().__init__()
        self._bytes_left = largest_bytes

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in self._sized:
            self._spend(args, kwargs or {})
        if func in self._created:
            return torch.zeros(*args, **{name: value for name, value in (kwargs or {}).items() if name != "generator"})
        if func in self._filled:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))

    def _spend(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        size = kwargs.get("size", args[0] if args and isinstance(args[0], (tuple, list)) else args)
        self._bytes_left -= 4 * math.prod(size)
        if self._bytes_left < 0:
            raise _TooLarge


def _load_network(path: Path, card: ModelCard, create: Callable[[Family, NetworkSettings], nn.Module]) -> nn.Module:
    if path.name not in card.files:
        raise _damaged(card.title, f"its card does not name {path.name}")
    settings = _settings(card)
    made = family(card.family)
    return load_network(lambda: create(made, settings), path, title=card.title, sha256=card.files[path.name])


def _settings(card: ModelCard) -> NetworkSettings:
    """The network's settings, which must agree with what the card tells people."""
    try:
        settings = settings_from(card.family, card.settings)
    except BadInput as refusal:
        raise Damaged(f"The model {card.title!r} cannot be built: {refusal.message}", _hint()) from None
    told = (card.resolution, card.channels, len(card.classes))
    if told != (settings.resolution, settings.channels, settings.classes):
        raise _damaged(card.title, "its card and its network disagree about size, colour or classes")
    return settings


def _check_fits(card: ModelCard, generator: nn.Module) -> None:
    """Refuse to save what could not be loaded."""
    settings = settings_from(card.family, card.settings)
    told = (card.resolution, card.channels, len(card.classes))
    if told != (settings.resolution, settings.channels, settings.classes):
        raise BadInput(f"The card of {card.title!r} does not fit its network.", "Give it the network's own settings.")
    own = getattr(generator, "settings", settings)
    if to_json(own) != to_json(settings):
        raise BadInput(f"The card of {card.title!r} describes another network.", "Give it the network's own settings.")


def _storable(name: str, tensor: Tensor, half: bool) -> Tensor:
    """A contiguous CPU copy, float16 if wished and if every value survives."""
    tensor = tensor.detach().to("cpu").contiguous()
    if not tensor.is_floating_point():
        return tensor.clone()
    if not torch.isfinite(tensor).all():
        raise BadInput(
            f"The weights {name[:80]!r} hold values that are not numbers.", "Go back to an earlier snapshot."
        )
    survives = tensor.numel() == 0 or float(tensor.abs().max()) < _HALF_LIMIT
    return tensor.to(torch.float16) if half and survives else tensor.clone()


def _read(path: Path, title: str, *, largest: int) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(largest + 1)
    except OSError:
        raise _damaged(title, f"its file {path.name} is missing or cannot be read") from None
    if len(content) > largest:
        raise _damaged(title, f"its file {path.name} is larger than its network")
    return content


def _parse(content: bytes, title: str) -> dict[str, Tensor]:
    header = int.from_bytes(content[:8], "little")
    if len(content) < 8 or header > min(_HEADER_BYTES, len(content) - 8):
        raise _damaged(title, "its weights are cut short or not safetensors")
    try:
        return safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, RuntimeError, RecursionError):
        raise _damaged(title, "its weights are garbled") from None


def _fitted(name: str, tensor: Tensor, like: Tensor, title: str) -> Tensor:
    if tensor.shape != like.shape:
        raise _damaged(
            title, f"{name[:80]!r} has the shape {list(tensor.shape)} where its network has {list(like.shape)}"
        )
    kinds_agree = tensor.dtype in _READ_DTYPES if like.is_floating_point() else tensor.dtype == like.dtype
    if not kinds_agree:
        raise _damaged(title, f"{name[:80]!r} holds numbers of the wrong kind")
    fitted = tensor.to(like.dtype)
    if fitted.is_floating_point() and not torch.isfinite(fitted).all():
        raise _damaged(title, f"{name[:80]!r} holds values that are not numbers")
    return fitted


def _damaged(title: str, what: str) -> Damaged:
    return Damaged(f"The model {title!r} is damaged: {what}.", _hint())


def _hint() -> str:
    return "Import or copy it again, or delete it from the shelf."


def _swap_in(temporary: Path, folder: Path) -> None:
    """Put a complete folder in the place of another one, or of none."""
    sync_folder(temporary)
    if not folder.exists():
        put_in_place(temporary, folder)
        return
    old = temporary_beside(folder)
    os.replace(folder, old)
    put_in_place(temporary, folder)
    shutil.rmtree(old, ignore_errors=True)
