"""Complete, checked, never torn: `checkpoints/<step>.safetensors` with the counters in its header.

A checkpoint is written beside its place, fsynced and renamed. The sum of everything in it is verified when it is read;
if the newest is damaged the one before serves. The two newest are kept, and the newest one that has proved healthy, which
the file `healthy` names: a run that goes wrong goes back there. Nothing in it can run code.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from studio import paths
from studio.errors import BadInput, Damaged, StudioError
from studio.training.config import TrainConfig
from studio.training.state import COUNTERS, TrainState, put_tensors, tensors_of
from studio.training.step import NotFinite

KEPT = 2
FORMAT = 1
_SPARE_BYTES = 64_000_000
_HEALTHY = "healthy"


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What was found: the checkpoint in use, if any, and a sentence for each damaged one that was passed over."""

    file: str
    damaged: tuple[str, ...]
    other_settings: bool


def save(folder: Path, state: TrainState, config: TrainConfig, keep: Path | None = None) -> Path:
    """Write the state into `folder`; older checkpoints but `keep` go only after the new one is safe.

    Raises:
        NoSpace: the disk is too full; the older checkpoints stay.
        NotFinite: the state holds a number that is not finite; nothing was written.
        FileNotFoundError: the run that `folder` belongs to was deleted; it is not made anew.
    """
    folder.mkdir(exist_ok=True)
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors_of(state).items()}
    require_finite(tensors)
    needed = sum(value.numel() * value.element_size() for value in tensors.values())
    paths.require_space(folder, needed + _SPARE_BYTES)
    about = _describe(state, config)
    place = folder / f"{state.step:08d}.safetensors"
    temporary = paths.temporary_beside(place)
    try:
        save_file(tensors, temporary, metadata={"about": about, "sum": _sum(tensors, about)})
        _sync(temporary)
        paths.put_in_place(temporary, place)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise paths.explain_disk(error, place) from error
    except SafetensorError as error:
        temporary.unlink(missing_ok=True)
        raise _explain(error, place) from error
    kept = (healthy(folder), keep)
    for old in found(folder)[KEPT:]:
        if old not in kept:
            old.unlink(missing_ok=True)
    return place


def found(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, newest first."""
    return sorted((file for file in folder.glob("*.safetensors") if file.stem.isdigit()), reverse=True)


def healthy(folder: Path) -> Path | None:
    """The checkpoint that is known to be healthy, if there is one."""
    try:
        file = folder / (folder / _HEALTHY).read_text().strip()
    except OSError:
        return None
    return file if file in found(folder) else None


def require_finite(tensors: Mapping[str, Tensor]) -> None:
    """Raise NotFinite if one of these tensors, by name as in `tensors_of`, holds a number that is not finite.

    It waits for the device once.
    """
    named = [(name, value) for name, value in tensors.items() if value.is_floating_point() and value.numel()]
    largest = torch.stack([size.float().cpu() for size in torch._foreach_norm([v for _, v in named], torch.inf)])
    for (name, _), finite in zip(named, torch.isfinite(largest).tolist(), strict=True):
        if not finite:
            whose = "memory of the optimizer" if "optimizer" in name else "weight of the run"
            raise NotFinite(
                f"A {whose} ({name}) is no number any more.",
                "Halve both learning rates, or start from an earlier snapshot.",
            )


def mark_healthy(folder: Path, file: Path) -> None:
    """From now on `file` is the one to go back to; the one before goes if it is not among the newest."""
    before = healthy(folder)
    paths.write_file(folder / _HEALTHY, file.name)
    if before is not None and before != file and before not in found(folder)[:KEPT]:
        before.unlink(missing_ok=True)


def forget_later(folder: Path, target: Path | None) -> None:
    """Remove all checkpoints that are newer than `target`; None removes all."""
    for file in found(folder):
        if target is None or file.name > target.name:
            file.unlink(missing_ok=True)


def restore(folder: Path, state: TrainState, config: TrainConfig) -> Restored:
    """Fill `state` from the newest good checkpoint; leave it alone if there is none.

    Raises:
        BadInput: the checkpoint is of other networks or of another dataset than `config` names.
    """
    damaged: list[str] = []
    for file in found(folder):
        try:
            tensors, about = read(file)
        except Damaged as problem:
            damaged.append(problem.message)
            file.unlink(missing_ok=True)
            continue
        return Restored(file=file.name, damaged=tuple(damaged), other_settings=_fill(state, config, tensors, about))
    return Restored(file="", damaged=tuple(damaged), other_settings=False)


def read(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the header of one checkpoint, verified.

    Raises:
        Damaged: it was cut short, altered, or is no checkpoint.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            header = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a mapping)
        about = json.loads(header["about"])
        whole = header["sum"] == _sum(tensors, header["about"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise _damaged(file) from error
    if not whole or about["format"] != FORMAT:
        raise _damaged(file)
    return tensors, about


def _fill(state: TrainState, config: TrainConfig, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> bool:
    if config.dataset_fingerprint and about["dataset_fingerprint"] != config.dataset_fingerprint:
        raise BadInput(
            "The pictures of this run have changed since it began.", "Start a new run from its newest snapshot."
        )
    try:
        put_tensors(state, tensors)
    except (RuntimeError, KeyError, IndexError, ValueError) as error:
        raise BadInput(
            "The settings of this run no longer fit what it has learned.", "Start a new run from its newest snapshot."
        ) from error
    for name in COUNTERS:
        setattr(state, name, about[name])
    return bool(about["config_hash"] != config.numeric_hash())


def _describe(state: TrainState, config: TrainConfig) -> str:
    about = {name: getattr(state, name) for name in COUNTERS}
    about |= {"format": FORMAT, "config_hash": config.numeric_hash(), "dataset_fingerprint": config.dataset_fingerprint}
    return json.dumps(about, sort_keys=True, allow_nan=False)


def _sum(tensors: Mapping[str, Tensor], about: str) -> str:
    digest = hashlib.sha256(about.encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _sync(file: Path) -> None:
    with open(file, "rb") as opened:
        os.fsync(opened.fileno())


def _explain(error: SafetensorError, place: Path) -> StudioError | SafetensorError:
    """safetensors reports a full disk as text only."""
    if "No space" in str(error) or "os error 28" in str(error):
        return StudioError(
            f"The disk is full, so {place.name} could not be saved.", "Free some space; the run goes on."
        )
    return error


def _damaged(file: Path) -> Damaged:
    return Damaged(f"The saved state {file.name} is damaged.", "The one before it is used instead.")
