"""Models on the Hub, against one of our own: what is shown, what is taken, and every way that it can go wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.errors import BadInput, Busy, Forbidden, NotFound, StudioError
from studio.weights import hub
from studio.weights.hub import HubAddress, HubFile, parse_address
from tests.weights.fake_hub import COMMIT, TOKEN, FakeHub, Repository, serving

WEIGHTS = bytes(range(256)) * 2000
CARD = b"---\nlicense: mit\n---\n# Leaves\n"
FILES = {
    "README.md": CARD,
    "config.json": b"{}",
    "model.pkl": WEIGHTS,
    "run.py": b"print('never')",
    "sheet.png": b"png",
}
NAME = "ana/leaves"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with serving() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", "/nowhere/token")
        monkeypatch.setattr(hub, "_TRIES", 2)
        running.repositories[NAME] = Repository(files=dict(FILES), card={"license": "mit", "datasets": ["ana/plants"]})
        yield running


@pytest.mark.parametrize(
    ("text", "repository", "revision", "file"),
    [
        ("ana/leaves", "ana/leaves", "", ""),
        (" ana/leaves@v1.0 ", "ana/leaves", "v1.0", ""),
        ("hf://ana/leaves", "ana/leaves", "", ""),
        ("https://huggingface.co/ana/leaves", "ana/leaves", "", ""),
        ("huggingface.co/ana/leaves/", "ana/leaves", "", ""),
        ("https://huggingface.co/ana/leaves/tree/dev", "ana/leaves", "dev", ""),
        ("https://huggingface.co/ana/leaves/blob/main/a/b.pkl?download=true", "ana/leaves", "main", "a/b.pkl"),
        ("https://hf.co/ana/leaves/resolve/main/b.pkl", "ana/leaves", "main", "b.pkl"),
    ],
)
def test_addresses_are_understood(text: str, repository: str, revision: str, file: str) -> None:
    assert parse_address(text) == HubAddress(repository=repository, revision=revision, file=file)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "leaves",
        "ana/leaves/more",
        "../etc/passwd",
        "ana/..",
        "/etc/passwd",
        "https://example.org/ana/leaves",
        "a b/c",
        "https://huggingface.co/spaces/ana/leaves",
        "https://huggingface.co/datasets/ana/leaves",
        "ana/leaves@a b",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    assert not hub.is_address(text)
    with pytest.raises(BadInput):
        parse_address(text)


def test_a_listing_says_what_is_there_and_what_would_be_taken(server: FakeHub) -> None:
    listing = hub.look(parse_address(NAME))
    assert (listing.repository, listing.revision, listing.title) == (NAME, COMMIT, "leaves")
    assert (listing.licence, listing.author, listing.trained_on) == ("mit", "ana", "ana/plants")
    assert {file.path: (file.kind, file.taken) for file in listing.files} == {
        "model.pkl": ("weights", True), "README.md": ("about", True), "config.json": ("about", True),
        "run.py": ("other", False), "sheet.png": ("other", False),
    }  # fmt: skip
    assert {file.path for file in listing.chosen()} == {"model.pkl", "README.md", "config.json"}


@pytest.mark.parametrize(
    ("paths", "taken"),
    [
        (["network-snapshot-000100.pkl", "network-snapshot-000200.pkl"], {"network-snapshot-000200.pkl"}),
        (["pytorch_model.bin", "model.safetensors", "discriminator.safetensors"],
         {"model.safetensors", "discriminator.safetensors"}),
        (["g_ema_100.pt", "g_200.pt", "optimizer_900.pt", "discriminator_900.pt"], {"g_ema_100.pt"}),
        (["netD_epoch_9.pth", "netG_epoch_9.pth"], {"netG_epoch_9.pth"}),
        (["a/model.pt", "a/config.json", "b/config.json", "README.md"], {"a/model.pt", "a/config.json", "README.md"}),
        (["train.py", "model.onnx"], set()),
    ],
)  # fmt: skip
def test_one_set_of_weights_is_suggested(paths: list[str], taken: set[str]) -> None:
    def kind(path: str) -> str:
        return "about" if Path(path).name in hub.ABOUT_FILES else "weights" if path[-3:] != ".py" else "other"

    files = [HubFile(path=path, size_bytes=1, kind=kind(path) if "onnx" not in path else "other") for path in paths]
    assert {file.path for file in hub.suggest(files) if file.taken} == taken


def test_a_file_of_the_address_is_preferred() -> None:
    files = [HubFile(path=path, size_bytes=1, kind="weights") for path in ("ema.pkl", "old/first.pkl")]
    assert next(file for file in hub.suggest(files, "old/first.pkl") if file.taken).path == "old/first.pkl"


def test_names_that_lead_outside_are_not_even_shown(server: FakeHub) -> None:
    server.repositories[NAME].files |= {
        "../../up.pkl": WEIGHTS,
        "/root.pkl": WEIGHTS,
        "a\\b.pkl": WEIGHTS,
        "C:x.pkl": WEIGHTS,
    }
    assert {file.path for file in hub.look(parse_address(NAME)).files} == set(FILES)


def test_only_what_was_chosen_is_downloaded(server: FakeHub, tmp_path: Path) -> None:
    listing = hub.look(parse_address(NAME))
    heard: list[tuple[int, int]] = []
    assert hub.download(listing, listing.chosen(), tmp_path / "into", progress=lambda *far: heard.append(far))
    names = ("README.md", "config.json", "model.pkl")
    assert {path.name: path.read_bytes() for path in (tmp_path / "into").iterdir()} == {
        name: FILES[name] for name in names
    }
    total = sum(len(FILES[name]) for name in names)
    assert heard[-1] == (total, total) and heard == sorted(heard)
    with pytest.raises(BadInput, match=r"run\.py is not a weight file"):
        listing.chosen(("run.py",))


def test_a_cancelled_download_goes_on_from_where_it_was(server: FakeHub, tmp_path: Path) -> None:
    listing = hub.look(parse_address(NAME))
    file = next(one for one in listing.files if one.path == "model.pkl")
    steps = iter([False, True])
    server.repositories[NAME].breaks = [3 * 16384]
    assert not hub.download(listing, (file,), tmp_path, cancelled=lambda: next(steps, True))
    part = (tmp_path / "model.pkl.part").stat().st_size
    assert 0 < part < len(WEIGHTS)
    assert hub.download(listing, (file,), tmp_path)
    assert (tmp_path / "model.pkl").read_bytes() == WEIGHTS
    assert server.repositories[NAME].asked[-1][1] == f"bytes={part}-"


def test_a_broken_connection_is_taken_up_again(server: FakeHub, tmp_path: Path) -> None:
    server.repositories[NAME].breaks = [100_000, 200_000]
    listing = hub.look(parse_address(NAME))
    assert hub.download(listing, listing.chosen(), tmp_path)
    assert (tmp_path / "model.pkl").read_bytes() == WEIGHTS


@pytest.mark.parametrize("name", ["model.pkl", "config.json"])
def test_other_bytes_than_the_commit_names_are_refused(server: FakeHub, tmp_path: Path, name: str) -> None:
    server.repositories[NAME].lies = True
    listing = hub.look(parse_address(NAME))
    file = next(one for one in listing.files if one.path == name)
    with pytest.raises(BadInput, match="did not arrive as the Hub describes it"):
        hub.download(listing, (file,), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_repository_without_weights_is_refused(server: FakeHub) -> None:
    server.repositories["ana/text"] = Repository(files={"README.md": CARD})
    with pytest.raises(BadInput, match="no weights"):
        hub.look(parse_address("ana/text")).chosen()


@pytest.mark.parametrize(
    ("repository", "error", "sentence", "hint"),
    [
        (Repository(files={}, private=True), NotFound, "or it is private", "hf auth login"),
        (Repository(files={}, gated=True), Forbidden, "accept its conditions", "in your browser"),
        (Repository(files={}, status=429), Busy, "too many requests", "40 seconds"),
        (Repository(files={}, status=503), Busy, "trouble", "few minutes"),
        (None, NotFound, "no model ana/other", "spelling"),
    ],
)
def test_refusals_are_sentences(
    server: FakeHub, repository: Repository | None, error: type[StudioError], sentence: str, hint: str
) -> None:
    if repository:
        server.repositories["ana/other"] = repository
    with pytest.raises(error, match=sentence) as refused:
        hub.look(parse_address("ana/other"))
    assert hint in refused.value.hint


def test_an_unknown_revision_is_said(server: FakeHub) -> None:
    with pytest.raises(NotFound, match="no such revision"):
        hub.look(parse_address(NAME, "no-such-branch"))


def test_private_and_gated_ones_open_with_the_artists_token(
    server: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    server.repositories["ana/mine"] = Repository(files=dict(FILES), private=True, gated=True)
    listing = hub.look(parse_address("ana/mine"))
    assert listing.private and listing.gated
    assert hub.download(listing, listing.chosen(), tmp_path)
    assert TOKEN not in "".join(path.read_text(errors="replace") for path in tmp_path.iterdir())


def test_without_a_connection_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(StudioError, match="cannot be reached") as refused:
        hub.look(parse_address(NAME))
    assert "connection" in refused.value.hint


def test_offline_by_wish_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(StudioError, match="HF_HUB_OFFLINE"):
        hub.look(parse_address(NAME))
