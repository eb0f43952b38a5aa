"""Models on the Hugging Face Hub: what a repository holds, and its files downloaded, each checked by its checksum.

Only files of an allowlist are taken, no code among them; the revision is pinned as a commit before anything is
downloaded. The token is the artist's own (HF_TOKEN, or the one that `hf auth login` saved): it is read for each request
and never kept. A download that was cut off or cancelled goes on from where it was.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlsplit

from studio.errors import BadInput, Busy, Forbidden, NotFound, StudioError
from studio.paths import explain_disk, put_in_place, require_space, slug
from studio.words import counted

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.hf_api import ModelInfo, RepoSibling

WEIGHT_SUFFIXES = (".safetensors", ".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".zip")
ABOUT_FILES = frozenset(
    {"config.json", ".config.json", "training_options.json", "README.md", "LICENSE", "LICENSE.txt", "preview.webp"}
)

Kind = Literal["weights", "about", "other"]
_PARTNERS = {"model.safetensors": "discriminator.safetensors"}
_SECONDARY = re.compile(
    r"optim|sched|discriminator|(^|[_\-.])(d|netd|opt|rng|scaler)([_\-.]|$)|training_args|vgg|lpips"
)
_PREFERRED = re.compile(r"ema")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.\-]{0,95}/[A-Za-z0-9_][\w.\-]{0,95}")
_REVISION = re.compile(r"[\w.\-/]{1,200}")
_ABOUT_BYTES = 4_000_000
_LARGEST_BYTES = 20 << 30
_MOST_FILES = 5_000
_SPARE_BYTES = 200_000_000
_TIMEOUT_SECONDS = 15.0
_TRIES = 5
_PART = ".part"


@dataclass(frozen=True, kw_only=True)
class HubAddress:
    """A model repository, a revision of it ("" is the newest) and perhaps one file in it."""

    repository: str
    revision: str = ""
    file: str = ""


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """One file of a repository.

    Attributes:
        kind: "weights", "about" (card, config, licence, preview) or "other", which is never taken.
        taken: whether it would be downloaded, unless the artist chooses otherwise.
        sha256, blob: checksums that the Hub knows it by: of large files their sha256, of small ones git's own.
    """

    path: str
    size_bytes: int
    kind: Kind
    taken: bool = False
    sha256: str = ""
    blob: str = ""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a repository holds at one commit.

    Attributes:
        revision: the commit's full sha.
        address: its page on the web.
        licence, author, trained_on: as its card says; empty where it does not.
    """

    repository: str
    revision: str
    title: str
    address: str
    files: tuple[HubFile, ...]
    licence: str = ""
    author: str = ""
    trained_on: str = ""
    private: bool = False
    gated: bool = False

    def chosen(self, weights: tuple[str, ...] = ()) -> tuple[HubFile, ...]:
        """The files to download: those suggested, or instead of the suggested weights the ones named here.

        Raises:
            BadInput: one of them is not a weight file of this repository, or there is nothing to take.
        """
        known = {file.path for file in self.files if file.kind == "weights"}
        if unknown := [path for path in weights if path not in known]:
            raise BadInput(f"{unknown[0][:80]} is not a weight file of {self.repository}.", "Choose one of the list.")
        picked = frozenset(weights) or frozenset(file.path for file in self.files if file.taken)
        files = tuple(file for file in self.files if file.path in picked or (file.taken and file.kind == "about"))
        if not picked & known:
            raise BadInput(
                f"{self.repository} holds no weights that the studio could read.",
                f"It reads {', '.join(WEIGHT_SUFFIXES)}; look for another repository of this model.",
            )
        return files


# ── addresses ──


def is_address(text: str) -> bool:
    """Whether a text could be meant as an address on the Hub."""
    try:
        parse_address(text)
    except BadInput:
        return False
    return True


def parse_address(text: str, revision: str = "") -> HubAddress:
    """The repository that a text names: `owner/name`, `owner/name@revision`, `hf://owner/name` or a web address.

    Raises:
        BadInput: it names none, or a data set, or a Space.
    """
    text = text.strip()
    if re.match(r"https?://|(www\.)?huggingface\.co/|hf\.co/", text):
        found = _from_web(text if "://" in text else f"https://{text}")
    else:
        repository, _, named = text.removeprefix("hf://").removeprefix("models/").rstrip("/").partition("@")
        found = HubAddress(repository=repository, revision=named)
    revision = revision.strip() or found.revision
    if not _REPOSITORY.fullmatch(found.repository) or ".." in found.repository:
        raise BadInput(f"{text[:80]!r} is not the name of a model on the Hub.", "Write it as owner/name.")
    if revision and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise BadInput(f"{revision[:80]!r} is not a revision.", "Name a branch, a tag or a commit, or leave it empty.")
    return HubAddress(repository=found.repository, revision=revision, file=found.file)


def _from_web(text: str) -> HubAddress:
    parsed = urlsplit(text)
    hosts = {"huggingface.co", "www.huggingface.co", "hf.co", urlsplit(_endpoint()).hostname}
    if parsed.hostname not in hosts:
        raise BadInput(
            f"{(parsed.hostname or text)[:80]} is not the Hugging Face Hub.",
            "Download the file yourself and drop it here.",
        )
    parts = [unquote(part) for part in parsed.path.split("/") if part]
    if parts and parts[0] in {"datasets", "spaces", "papers", "collections", "docs"}:
        raise BadInput(
            f"This is not a model but a page of {parts[0]}.", "Open the model that it uses, and give its address."
        )
    place = parts[2] if len(parts) > 3 and parts[2] in {"tree", "blob", "resolve", "raw", "commit"} else ""
    file = "/".join(parts[4:]) if place in {"blob", "resolve", "raw"} else ""
    return HubAddress(repository="/".join(parts[:2]), revision=parts[3] if place else "", file=file)


def _endpoint() -> str:
    """The Hub's address; HF_ENDPOINT names another one, as everywhere."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


# ── looking ──


def look(address: HubAddress) -> Listing:
    """Ask the Hub what a repository holds; downloads nothing.

    Raises:
        NotFound: no such repository or revision. Forbidden: it is gated. Busy: too many requests, or the Hub has
        trouble. StudioError: it cannot be reached.
    """
    from huggingface_hub import HfApi

    try:
        with _explained(address.repository):
            info = HfApi(endpoint=_endpoint()).model_info(
                address.repository, revision=address.revision or None, files_metadata=True, timeout=_TIMEOUT_SECONDS
            )
    except _Broken as broken:
        raise _unreachable() from broken
    return _listing(address, info)


def _listing(address: HubAddress, info: ModelInfo) -> Listing:
    if not re.fullmatch(r"[0-9a-f]{40}", info.sha or ""):
        raise StudioError("The Hub did not say which revision this is.", "Try again in a moment.")
    files = [_file(sibling) for sibling in (info.siblings or [])[:_MOST_FILES]]
    card: Mapping[str, Any] = vars(info.card_data) if info.card_data else {}
    return Listing(
        repository=info.id,
        revision=info.sha or "",
        title=str(card.get("title") or info.id.rpartition("/")[2].replace("_", " ").replace("-", " ")).strip(),
        address=f"{_endpoint()}/{info.id}",
        files=suggest([file for file in files if file is not None], address.file),
        licence=_licence(card),
        author=info.author or info.id.partition("/")[0],
        trained_on=_joined(card.get("datasets")),
        private=bool(info.private),
        gated=bool(info.gated),
    )


def _file(sibling: RepoSibling) -> HubFile | None:
    """A file as we may take it; None for one whose name could not be a path below a folder."""
    path = PurePosixPath(sibling.rfilename)
    if path.is_absolute() or ".." in path.parts or re.search(r"[\\:\x00-\x1f]", str(path)) or len(str(path)) > 300:
        return None
    size = sibling.size or 0
    suffix = path.suffix.lower()
    kind: Kind = "weights" if suffix in WEIGHT_SUFFIXES else "other"
    if path.name in ABOUT_FILES and size <= _ABOUT_BYTES:
        kind = "about"
    return HubFile(
        path=str(path),
        size_bytes=size,
        kind=kind,
        sha256=sibling.lfs.sha256 if sibling.lfs else "",
        blob="" if sibling.lfs else sibling.blob_id or "",
    )


def suggest(files: list[HubFile], wanted: str = "") -> tuple[HubFile, ...]:
    """The files, best weights first, with those marked that a download should take: one file of weights (with its
    partner), and what lies beside it or at the top that tells about it. `wanted` is the path of weights to prefer."""
    weights = sorted((file for file in files if file.kind == "weights"), key=lambda file: _rank(file, wanted))
    taken: set[str] = set()
    if weights:
        best = PurePosixPath(weights[0].path)
        partner = _PARTNERS.get(best.name)
        near = {best.parent, PurePosixPath(".")}
        taken = {str(best)} | {str(best.with_name(partner))} if partner else {str(best)}
        taken |= {file.path for file in files if file.kind == "about" and PurePosixPath(file.path).parent in near}
    rest = [file for file in files if file.kind == "about"] + [file for file in files if file.kind == "other"]
    return tuple(replace(file, taken=file.path in taken) for file in (*weights, *rest))


def _rank(file: HubFile, wanted: str) -> tuple[bool, bool, bool, int, int, str]:
    """Smaller is better: the wanted one, no optimizer or discriminator, an average, a safer format, the latest."""
    path = PurePosixPath(file.path)
    stem = path.stem.lower()
    number = max((int(digits) for digits in re.findall(r"\d{1,9}", stem)), default=0)
    return (
        file.path != wanted,
        bool(_SECONDARY.search(stem)),
        not _PREFERRED.search(stem),
        WEIGHT_SUFFIXES.index(path.suffix.lower()),
        -number,
        file.path,
    )


def _licence(card: Mapping[str, Any]) -> str:
    licence = card.get("license")
    if licence == "other":
        licence = card.get("license_name") or ""
    return _joined(licence)[:200]


def _joined(value: Any) -> str:
    values = value if isinstance(value, list) else [value]
    return ", ".join(item for item in values if isinstance(item, str))[:1000]


# ── downloading ──


def folder_name(listing: Listing) -> str:
    """The name of the folder for a repository at its commit; the same one again, so that a download can go on."""
    return f"{slug(listing.repository)}-{listing.revision[:12]}"


def download(
    listing: Listing,
    files: tuple[HubFile, ...],
    into: Path,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> bool:
    """Bring files of a listing into the folder `into`, under the paths that they have in the repository.

    What is there already is not fetched again, and a part of a file goes on growing.

    Args:
        progress: hears (bytes done, bytes in all).

    Returns:
        False if `cancelled` said so; what has arrived stays.

    Raises:
        NoSpace: the disk is full. BadInput: a file is not what the Hub said, or far too large. The errors of `look`.
    """
    total = sum(file.size_bytes for file in files)
    if total > _LARGEST_BYTES:
        raise BadInput(f"These files are {total / 1e9:.0f} GB.", "Choose fewer of them.")
    into.mkdir(parents=True, exist_ok=True)
    missing = [file for file in files if not (into / file.path).is_file()]
    have = {file.path: _part(into, file).stat().st_size if _part(into, file).exists() else 0 for file in missing}
    require_space(into, sum(file.size_bytes - have[file.path] for file in missing) + _SPARE_BYTES)
    done = total - sum(file.size_bytes for file in missing)
    for file in missing:
        if not _fetch(listing, file, into, functools.partial(_tell, progress, done, total), cancelled):
            return False
        done += file.size_bytes
    progress(total, total)
    return True


def _tell(progress: Callable[[int, int], None], before: int, total: int, here: int) -> None:
    progress(before + here, total)


def _part(into: Path, file: HubFile) -> Path:
    path = into / file.path
    return path.with_name(path.name + _PART)


def _fetch(
    listing: Listing, file: HubFile, into: Path, progress: Callable[[int], None], cancelled: Callable[[], bool]
) -> bool:
    part = _part(into, file)
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "ab") as target:
            if not _complete(listing, file, target, progress, cancelled):
                return False
        _check(file, part)
        put_in_place(part, into / file.path)
    except OSError as error:
        raise explain_disk(error, part) from error
    return True


def _complete(
    listing: Listing, file: HubFile, target: IO[bytes], progress: Callable[[int], None], cancelled: Callable[[], bool]
) -> bool:
    """Ask again after a connection broke, each time from where it was; give up when several tries brought nothing."""
    tries = 0
    while True:
        before = target.tell()
        try:
            with _explained(listing.repository):
                return _stream(listing, file, target, progress, cancelled)
        except _Broken as broken:
            tries = 0 if target.tell() > before else tries + 1
            if tries >= _TRIES:
                raise _unreachable() from broken
            if cancelled():
                return False
            time.sleep(min(tries, 3))


def _stream(
    listing: Listing, file: HubFile, target: IO[bytes], progress: Callable[[int], None], cancelled: Callable[[], bool]
) -> bool:
    """One request for what is missing of a file."""
    from huggingface_hub import get_session, get_token, hf_hub_url, hf_raise_for_status

    if file.size_bytes and target.tell() >= file.size_bytes:
        return True
    url = hf_hub_url(listing.repository, file.path, revision=listing.revision, endpoint=_endpoint())
    headers = {"Accept-Encoding": "identity"}
    if token := get_token():
        headers["Authorization"] = f"Bearer {token}"  # which the client drops where it is sent on to another host
    if target.tell():
        headers["Range"] = f"bytes={target.tell()}-"
    with get_session().stream("GET", url, headers=headers, timeout=_TIMEOUT_SECONDS, follow_redirects=True) as answer:
        if answer.is_error:
            answer.read()
        hf_raise_for_status(answer)
        if answer.status_code != 206:
            target.seek(0)
            target.truncate()
        for chunk in answer.iter_bytes():
            if cancelled():
                return False
            if target.tell() + len(chunk) > file.size_bytes:
                raise BadInput(f"{file.path} is larger than the Hub said.", "Look at the repository again.")
            target.write(chunk)
            progress(target.tell())
    if target.tell() < file.size_bytes:
        raise _Broken
    return True


def _check(file: HubFile, part: Path) -> None:
    """Raise BadInput, and drop the part, unless the bytes are those that the commit names."""
    sha256, git = hashlib.sha256(), hashlib.sha1(f"blob {file.size_bytes}\0".encode(), usedforsecurity=False)
    with open(part, "rb") as content:
        while chunk := content.read(1 << 20):
            sha256.update(chunk)
            git.update(chunk)
    whole = part.stat().st_size == file.size_bytes
    if whole and file.sha256 in ("", sha256.hexdigest()) and file.blob in ("", git.hexdigest()):
        return
    part.unlink()
    raise BadInput(f"{file.path} did not arrive as the Hub describes it.", "Download it again.")


# ── what can go wrong ──


class _Broken(Exception):
    """The connection broke while a file was coming; asking again helps."""


@contextmanager
def _explained(repository: str) -> Iterator[None]:
    """Turn what the Hub's client raises into sentences."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    try:
        yield
    except OfflineModeIsEnabled as error:
        raise StudioError(
            "The studio was started with HF_HUB_OFFLINE=1, so it asks the Hub nothing.",
            "Start it without that, or drop a file that you have.",
        ) from error
    except HFValidationError as error:
        raise BadInput(
            f"{repository[:80]!r} is not the name of a model on the Hub.", "Write it as owner/name."
        ) from error
    except HfHubHTTPError as error:
        raise _refusal(repository, error) from error
    except httpx2.ConnectError as error:
        raise _unreachable() from error
    except httpx2.HTTPError as error:
        raise _Broken from error


def _unreachable() -> StudioError:
    return StudioError(
        "The Hub cannot be reached.",
        "Check the connection and try again; what has arrived is kept, and everything on the shelf plays without it.",
    )


def _refusal(repository: str, error: HfHubHTTPError) -> StudioError:
    from huggingface_hub import get_token
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    status = error.response.status_code
    if isinstance(error, GatedRepoError) or (status == 403 and "gated" in str(error).lower()):
        return Forbidden(
            f"{repository} asks you to accept its conditions first.",
            f"Open {_endpoint()}/{repository} in your browser and accept them,"
            + ("" if get_token() else " log in here with `hf auth login`,")
            + " then look again.",
        )
    if isinstance(error, RevisionNotFoundError):
        return NotFound(f"{repository} has no such revision.", "Name a branch, a tag or a commit, or leave it empty.")
    if status == 401 and not isinstance(error, RepositoryNotFoundError):
        return Forbidden("The Hub does not accept your token.", "Log in again with `hf auth login`, or mend HF_TOKEN.")
    if isinstance(error, RepositoryNotFoundError) or status in (401, 404):
        return NotFound(f"The Hub has no model {repository}, or it is private.", _private_hint(get_token() is not None))
    if status == 403:
        return Forbidden(f"Your token may not read {repository}.", "Give it read access on the Hub, or use another.")
    if status == 429:
        wait = error.response.headers.get("Retry-After", "")
        return Busy("The Hub asks to wait: too many requests.", f"Try again in {_waiting(wait)}.")
    if status >= 500:
        return Busy("The Hub has trouble at the moment.", "Try again in a few minutes.")
    return StudioError(f"The Hub refused the request ({status}).", "Look at the repository again, or try later.")


def _private_hint(logged_in: bool) -> str:
    if logged_in:
        return "Check the spelling, and that your token may see it."
    return "Check the spelling; for a private one log in with `hf auth login` or set HF_TOKEN."


def _waiting(seconds: str) -> str:
    return counted(int(seconds), "second") if seconds.isdigit() and int(seconds) <= 600 else "a few minutes"
