"""Names that came with uploaded files: kept to be shown, never used as a path."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

_DRIVE = re.compile(r"^[A-Za-z]:")
_PASSED_OVER = {"__macosx", "thumbs.db", "desktop.ini", "ehthumbs.db", "$recycle.bin"}
_MAX_PART = 120
_MAX_PARTS = 16


def clean_label(raw: str) -> str:
    """A relative path for showing: no `..`, root, drive, backslash or invisible character; parts of at most 120."""
    parts = [_clean_part(part) for part in _DRIVE.sub("", raw).replace("\\", "/").split("/")]
    kept = [part for part in parts if part not in ("", ".", "..")]
    return "/".join(kept[-_MAX_PARTS:]) or "unnamed"


def _clean_part(part: str) -> str:
    normal = unicodedata.normalize("NFC", part)
    visible = "".join(c for c in normal if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")).strip()
    if len(visible) <= _MAX_PART:
        return visible
    stem, dot, ending = visible.rpartition(".")
    return f"{stem[:100]}….{ending}" if dot and len(ending) <= 8 else f"{visible[:110]}…"


def passed_over(label: str) -> bool:
    """True for what systems leave lying about: hidden files, `__MACOSX`, `Thumbs.db` and the like."""
    return any(part.startswith(".") or part.lower() in _PASSED_OVER for part in label.split("/"))


def unique_labels(labels: Iterable[str]) -> list[str]:
    """The labels in order; one that was there before gets a number, so that each names one file."""
    seen: dict[str, int] = {}
    result = []
    for label in labels:
        while (times := seen.get(label, 0)) > 0:
            seen[label] = times + 1
            label = f"{label} ({times + 1})"
        seen[label] = 1
        result.append(label)
    return result


def class_folders(labels: Sequence[str]) -> list[str]:
    """For each label its first-level folder ("" at the top), after looking through folders that wrap everything."""
    folders = [label.split("/")[:-1] for label in labels]
    depth = 0
    while folders and all(len(f) > depth for f in folders) and len({f[depth] for f in folders}) == 1:
        depth += 1
    return [folder[depth] if len(folder) > depth else "" for folder in folders]
