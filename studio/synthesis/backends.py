"""Which backend may be fastest on this machine, and what measuring has told, which is remembered."""

from __future__ import annotations

import importlib.util
import json
import platform
from collections.abc import Mapping
from pathlib import Path

import torch

from studio.errors import NoSpace
from studio.families.base import Generator, Staged
from studio.paths import write_file
from studio.synthesis.backend import Backend
from studio.synthesis.cuda import CUDA
from studio.synthesis.openvino import OpenVINO

_REMEMBERED = 500


def fastest(generator: Generator, quick: Staged, *, kept: tuple[Path, str] | None = None) -> Backend | None:
    """The backend that this machine's hardware calls for; None if plain PyTorch is all there is."""
    if torch.cuda.is_available():
        return CUDA(generator)
    if importlib.util.find_spec("openvino") is not None:
        return OpenVINO(generator, quick, kept=kept)
    return None


class Measurements:
    """Seconds for a picture, by model and backend, of one machine; a small JSON file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._machine = f"{platform.machine()} {platform.processor()} torch {torch.__version__}"

    def of(self, model: str) -> dict[str, float]:
        """What was measured for a model here; empty if nothing."""
        try:
            found = json.loads(self._path.read_text())[self._machine][model]
            return {str(name): float(seconds) for name, seconds in found.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def remember(self, model: str, seconds: Mapping[str, float]) -> None:
        """Keep what was measured; the oldest models are forgotten."""
        try:
            known = dict(json.loads(self._path.read_text())[self._machine])
        except (OSError, ValueError, KeyError, TypeError):
            known = {}
        known.pop(model, None)
        kept = dict([*known.items(), (model, dict(seconds))][-_REMEMBERED:])
        try:
            write_file(self._path, json.dumps({self._machine: kept}, indent=1))
        except (OSError, NoSpace):
            return  # it is measured again next time
