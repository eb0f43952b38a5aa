"""What came in: files kept under harmless names, zips taken apart, and what names and cards beside the weights tell."""

from __future__ import annotations

import json
import os
import re
import secrets
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from studio.data.archive import Archive, ArchiveLimits, is_zip
from studio.errors import BadInput
from studio.paths import explain_disk, remove, require_space
from studio.weights import hub
from studio.weights.card import CONFIG_FILE, WEIGHTS_FILE

SPARE_BYTES = 200_000_000
MOST_FILES = 1_000
_CONFIG_BYTES = 1_000_000
_DEEPEST = 6
_OWN_KEYS = frozenset({"id", "family", "settings", "files", "resolution"})
_DULL_NAMES = re.compile(
    r"(network[-_ ]?snapshot|pytorch[-_ ]?model|models?|generator|netg|g[-_ ]?ema|checkpoint|ckpt|weights|epoch|iter|all|best"
    r"|latest|final|files|unpacked)?[-_ \d]*(kimg|epoch|iter)?[-_ \d]*"
)


def opened(source: Path, unpacked: Path, most_bytes: int) -> Path:
    """The file or the folder to look at: of a folder that only wraps another thing that thing, of a zip what it held.

    Args:
        unpacked: where a zip is taken apart.

    Raises:
        BadInput: there is nothing, or a zip that cannot be used. NoSpace.
    """
    require_readable(source)
    while source.is_dir():
        inside = [path for path in source.iterdir() if path.name not in hub.ABOUT_FILES]
        if not inside:
            raise BadInput(f"There is nothing in {source.name}.", "Drop the file or the folder again.")
        if len(list(source.iterdir())) > 1:
            break
        source = inside[0]
        require_readable(source)
    if source.is_file() and is_zip(source):
        return unpack(source, unpacked, most_bytes)
    return source


def path_of(text: str) -> Path:
    """The path that somebody wrote: quoted, as a file:// address, or from the home folder "~"; a path of nothing if empty."""
    text = text.strip().strip("\"'")
    if text.startswith("file:///"):
        text = unquote(text.removeprefix("file://"))
    try:
        return Path(text).expanduser() if text else Path("\0")
    except RuntimeError:
        return Path(text)


def exists(path: Path) -> bool:
    """Whether there is anything at a path; False for what can be no path."""
    try:
        return path.exists()
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False


def require_readable(source: Path) -> None:
    """Raise BadInput unless it is an ordinary file or a folder, and the studio may read it."""
    try:
        ordinary = source.is_file() or source.is_dir()
    except OSError:
        ordinary = True
    if not ordinary:
        raise BadInput("This is not an ordinary file or folder.", "Name the file of weights, or its folder.")
    if not os.access(source, os.R_OK | (os.X_OK if source.is_dir() else 0)):
        raise BadInput(f"The studio may not read {source.name}.", "Change its permissions, or copy it elsewhere.")


def clear(folder: Path) -> None:
    """Delete a folder for good, if it is there."""
    if folder.exists():
        remove(folder)


def own_folder(source: Path) -> Path | None:
    """The folder of a model of ours: the source, its one level of sub-folders, or where a file of it lies; else None."""
    if source.is_file():
        return source.parent if source.name == WEIGHTS_FILE and _is_ours(source.parent) else None
    below = sorted(path for path in source.iterdir() if path.is_dir())[:MOST_FILES]
    return next((folder for folder in (source, *below) if _is_ours(folder)), None)


def _is_ours(folder: Path) -> bool:
    config = folder / CONFIG_FILE
    if not (folder / WEIGHTS_FILE).is_file() or not config.is_file() or config.stat().st_size > _CONFIG_BYTES:
        return False
    try:
        said = json.loads(config.read_bytes())
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and set(said) >= _OWN_KEYS


def unpack(file: Path, into: Path, most_bytes: int) -> Path:
    """The weights and what tells about them out of a zip, below `into`; the zip itself if it is one of torch's.

    Raises:
        BadInput: damaged, locked, a bomb, or a zip without weights. NoSpace: the disk is full.
    """
    limits = ArchiveLimits(entries=20_000, total_bytes=most_bytes, entry_bytes=most_bytes, ratio_free_bytes=64_000_000)
    try:
        with Archive(file, limits) as archive:
            labels = [PurePosixPath(entry.label) for entry in archive.entries]
            wanted = [entry for entry, label in zip(archive.entries, labels, strict=True) if _wanted(label)]
            if any(label.name == "data.pkl" and len(label.parts) <= 2 for label in labels) or not (
                wanted or archive.refused
            ):
                return file
            _require_usable(archive)
            if not wanted:
                return file
            require_space(into.parent, sum(entry.bytes for entry in wanted) + SPARE_BYTES)
            clear(into)
            for entry in wanted:
                target = place(into, entry.label)
                target.parent.mkdir(parents=True, exist_ok=True)
                with open(target, "wb") as out:
                    out.writelines(archive.stream(entry))
    except BadInput as refusal:
        raise BadInput(refusal.message, "Download the zip again, or unpack it and drop the file of weights.") from None
    except OSError as error:
        raise explain_disk(error, file) from error
    return into


def _require_usable(archive: Archive) -> None:
    """Raise the reason for which a file of weights in a zip cannot be used, if there is one."""
    for label, reason in archive.refused:
        if PurePosixPath(label).suffix.lower() in hub.WEIGHT_SUFFIXES:
            raise BadInput(f"{PurePosixPath(label).name[:80]}: {reason.replace(', as no picture does', '')}")


def _wanted(label: PurePosixPath) -> bool:
    return label.suffix.lower() in hub.WEIGHT_SUFFIXES or label.name in hub.ABOUT_FILES


def place(folder: Path, relative_path: str) -> Path:
    """Where a file goes that says it lies at `relative_path`: below `folder`, under harmless names, over no other."""
    parts = [part for part in re.split(r"[/\\]+", relative_path[-1_000:]) if part not in ("", ".", "..")]
    names = [_harmless(part) for part in parts[-_DEEPEST:]] or ["unnamed"]
    target = folder.joinpath(*names)
    while target.exists():
        target = target.with_name(f"{secrets.token_hex(2)}-{names[-1]}")
    return target


def _harmless(name: str) -> str:
    if name in hub.ABOUT_FILES:
        return name
    stem, dot, suffix = name.rpartition(".") if "." in name else (name, "", "")
    kept = re.sub(r"[^\w\- ().+]", "_", stem).strip(". ")[:100] or "unnamed"
    return f"{kept}{dot}{re.sub(r'[^A-Za-z0-9]', '', suffix)[:20]}"


def licence_beside(file: Path) -> str:
    """The licence that a README beside the weights names in its front matter; "" if none does."""
    readme = (file if file.is_dir() else file.parent) / "README.md"
    if not readme.is_file():
        return ""
    with open(readme, encoding="utf-8", errors="replace") as text:
        front = text.read(20_000).split("---")
    named = {}
    for line in front[1].splitlines() if len(front) > 2 and not front[0].strip() else ():
        key, colon, value = line.partition(":")
        if colon and key in ("license", "license_name"):
            named[key] = value.strip().strip("\"'")
    licence = named.get("license", "")
    return (named.get("license_name", "") if licence == "other" else licence)[:200]


def title_of(source: Path, file: Path) -> str:
    """A name from where it lay: that of the file, or of a folder above it where the file's says nothing; "" if none."""
    names = [file.stem]
    for folder in file.parents:
        names.append(folder.name)
        if folder in (source, source.parent):
            break
    told = next((name for name in names if not _DULL_NAMES.fullmatch(name.lower())), "")
    return " ".join(re.sub(r"[_\-.]+", " ", told).split())[:100].strip()
