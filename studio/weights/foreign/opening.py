"""Opening foreign weights from the studio's side: a confined child reads the file, then what it wrote is checked once more.

The studio's process never parses a foreign file. It reads the facts (a line of JSON) and safetensors that the child wrote, and
checks them as it checks its own: settings in range, every tensor by name, shape and finite values.
"""

from __future__ import annotations

import json
import logging
import re
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from subprocess import Popen
from typing import IO, TYPE_CHECKING, Any

from studio import confine
from studio.errors import BadInput, Damaged, NoSpace, NotFound, StudioError
from studio.options import from_json
from studio.weights.foreign.contents import Candidate
from studio.weights.foreign.inside import DISCRIMINATOR_FILE, FOUND_FILE, GENERATOR_FILE, wall_seconds

if TYPE_CHECKING:
    from torch import nn

_CHILD = "studio.weights.foreign.inside"
_ANSWER_BYTES = 16_000_000
_ASKED_EVERY_SECONDS = 0.05
_LOGGED_BYTES = 8_000
_ASK = "Ask its author for the plain weights as safetensors."
_ASK_ANOTHER = "Download it again, or ask its author for the plain weights as safetensors."
_MAX_FILES = 10_000
_MAX_CANDIDATES = 16
_SUFFIXES = (".pkl", ".pt", ".pth", ".safetensors", ".bin", ".ckpt", ".pickle", ".tar", ".model", ".h5", ".onnx")
_NEVER = re.compile(r"optim|sched|scaler|random_state|training_args|rng|tokenizer|inception|detector|vgg|lpips", re.I)
_BEST = re.compile(r"ema|best|final", re.I)
_CRITIC = re.compile(r"(^|[_\-.])(d|net_?d|disc|discriminator)([_\-.]|$)", re.I)
_REFUSALS: Mapping[str, type[StudioError]] = {"Damaged": Damaged, "NoSpace": NoSpace}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """What the child answers.

    Attributes:
        format: for people, such as "StyleGAN2-ADA (NVIDIA), pickle".
        candidates: ways to read what its names cannot tell, the best guess first.
        arguments: original ones worth keeping on the card.
        sha256: of the foreign file.
    """

    family: str
    format: str
    candidates: tuple[Candidate, ...]
    classes: tuple[str, ...]
    kimg: float
    arguments: dict[str, Any]
    warnings: tuple[str, ...]
    file_name: str
    sha256: str
    has_discriminator: bool


@dataclass(frozen=True, kw_only=True)
class Found(_Facts):
    """A foreign model that was read: what it is, and the folder with its weights in our own format.

    Attributes:
        folder: holds generator.safetensors, perhaps discriminator.safetensors, and found.json.
    """

    folder: Path


def choices(source: Path) -> tuple[str, ...]:
    """The weight files in a folder as relative names, the best first; of a file its own name.

    Best are those that are named as averages or as final, then the highest numbers. Raises NotFound.
    """
    _check_exists(source)
    if not source.is_dir():
        return (source.name,)
    found: list[Path] = []
    for count, path in enumerate(source.rglob("*")):
        if count > _MAX_FILES:
            raise BadInput("This folder holds too many files to search.", "Choose the weights file itself.")
        hidden = any(part.startswith(".") for part in path.relative_to(source).parts)
        if path.suffix.lower() in _SUFFIXES and not hidden and not _NEVER.search(path.name) and path.is_file():
            found.append(path)
    return tuple(path.relative_to(source).as_posix() for path in sorted(found, key=lambda path: _rank(path, source)))


def _rank(path: Path, source: Path) -> tuple[Any, ...]:
    numbers = [int(number[:18]) for number in re.findall(r"\d+", path.stem)]
    return (
        bool(_CRITIC.search(path.stem)),
        len(path.relative_to(source).parts),
        not _BEST.search(path.stem),
        -(numbers[-1] if numbers else 0),
        path.suffix.lower() != ".safetensors",
        -path.stat().st_size,
        path.name,
    )


def inspect(source: Path, into: Path, *, cancelled: Callable[[], bool] = lambda: False) -> Found:
    """Read a foreign file, or the best one of a folder, in a confined child; its weights go to the empty folder `into`.

    Args:
        cancelled: asked twenty times a second; True ends the child and raises BadInput.

    Raises:
        BadInput, Damaged: it cannot be used; the sentence says what it is and what to do.
        NotFound: there is no such file.
    """
    path = _weights_file(source)
    into.mkdir(parents=True, exist_ok=True)
    request = {"source": str(path.resolve()), "into": str(into.resolve())}
    try:
        facts = _facts(_ask(request, wall_seconds(path.stat().st_size), cancelled))
    except StudioError:
        for name in (GENERATOR_FILE, DISCRIMINATOR_FILE, FOUND_FILE):
            (into / name).unlink(missing_ok=True)
        raise
    return Found(**{field.name: getattr(facts, field.name) for field in fields(_Facts)}, folder=into)


def _facts(answer: Mapping[str, Any]) -> _Facts:
    """What the child found. Raises what it refused with."""
    if isinstance(refused := answer.get("refused"), dict):
        kind = _REFUSALS.get(str(refused.get("kind")), BadInput)
        raise kind(str(refused.get("message")), str(refused.get("hint")))
    facts = from_json(_Facts, answer.get("found"))
    if not 1 <= len(facts.candidates) <= _MAX_CANDIDATES:
        raise BadInput("This model can be read in no certain way.", "Ask its author how it was trained.")
    return facts


def _check_exists(source: Path) -> None:
    try:
        there = source.exists()
    except OSError:  # a name that is far too long, a folder that is closed to us
        there = False
    if not there:
        raise NotFound(f"There is nothing at {source.name[:80]!r}.", "Choose a file or folder that exists.")


def _weights_file(source: Path) -> Path:
    _check_exists(source)
    if source.is_dir():
        names = choices(source)
        if not names:
            raise BadInput(
                "This folder holds no file of weights.", "Choose one with a .pkl, .pt or .safetensors in it."
            )
        source = source / names[0]
    if not source.is_file():
        raise BadInput(f"{source.name!r} is not an ordinary file.", "Choose a file of weights.")
    return source


def _ask(request: dict[str, str], seconds: float, cancelled: Callable[[], bool]) -> dict[str, Any]:
    """One child, one request, one answer."""
    with tempfile.TemporaryFile() as errors:
        child = confine.start(_CHILD, errors=errors)
        try:
            with confine.Alarm(child, seconds) as alarm:
                line = _exchange(child, json.dumps(request).encode() + b"\n", cancelled)
                child.wait()
        finally:
            confine.end(child)
        _log_errors(errors)
    if not line.endswith(b"\n"):
        raise _broken(child, alarm.rang)
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        raise _broken(child, alarm.rang) from None
    return answer if isinstance(answer, dict) else {}


def _exchange(child: Popen[bytes], request: bytes, cancelled: Callable[[], bool]) -> bytes:
    """Send the request and wait for the answer, asking meanwhile whether the artist gave up."""
    lines: list[bytes] = []
    talk = threading.Thread(target=_talk, args=(child, request, lines), daemon=True)
    talk.start()
    while talk.is_alive():
        if cancelled():
            child.kill()
            talk.join()
            raise BadInput("The import was cancelled.", "Nothing was kept; start it again whenever you like.")
        talk.join(_ASKED_EVERY_SECONDS)
    return lines[0] if lines else b""


def _talk(child: Popen[bytes], request: bytes, lines: list[bytes]) -> None:
    assert child.stdin is not None and child.stdout is not None
    try:
        child.stdin.write(request)
        child.stdin.flush()
        lines.append(child.stdout.readline(_ANSWER_BYTES))
    except (OSError, ValueError):
        return


def _log_errors(errors: IO[bytes]) -> None:
    """What the child said on its standard error, for whoever mends the reader."""
    errors.seek(0)
    if said := errors.read(_LOGGED_BYTES):
        _log.warning("the reader of foreign weights said: %s", said.decode("utf-8", "replace"))


def _broken(child: Popen[bytes], rang: bool) -> StudioError:
    """The sentence for a child that did not answer."""
    if rang or confine.ran_out_of_time(child.returncode):
        return BadInput("Reading this file takes far too long for a model of its size.", _ASK)
    return BadInput("This file breaks its reader: it is not built as a model is.", _ASK)


def build(found: Found, candidate: int = 0) -> tuple[nn.Module, nn.Module | None]:
    """Generator and discriminator, float32, in eval mode, after the second stage of checks. Imports torch.

    Raises:
        BadInput: there is no such candidate, or its settings are out of range.
        Damaged: a tensor is missing, too many, of another shape, or not finite.
    """
    from studio.families.base import Calibrated, family, settings_from
    from studio.weights.store import load_network

    if not 0 <= candidate < len(found.candidates):
        raise BadInput("There is no such way to read this model.", "Choose one that is shown.")
    settings = settings_from(found.family, found.candidates[candidate].settings)
    made = family(found.family)

    def loaded(create: Callable[[], nn.Module], name: str) -> nn.Module:
        try:
            return load_network(create, found.folder / name, title=found.file_name)
        except Damaged as refusal:
            raise Damaged(refusal.message, _ASK_ANOTHER) from None

    generator = loaded(lambda: made.generator(settings), GENERATOR_FILE)
    if isinstance(generator, Calibrated):
        generator.calibrate()
    if not found.has_discriminator:
        return generator, None
    return generator, loaded(lambda: made.discriminator(settings), DISCRIMINATOR_FILE)
