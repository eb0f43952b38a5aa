"""Which feature network is opened, and what happens where there is none."""

from __future__ import annotations

import pickle
from pathlib import Path
from urllib.error import URLError

import pytest
import torch

from studio.errors import BadInput, Damaged, NotFound
from studio.features import extractor as module
from studio.features.extractor import load, load_small
from studio.features.network import SmallNetwork
from studio.features.train import save

CHECKPOINTS = "hub/checkpoints"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch's cache, empty, and no internet. Returns where torchvision's file would lie."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)

    def offline(*_: object, **__: object) -> None:
        raise URLError("no route")

    monkeypatch.setattr(torch.hub, "urlopen", offline)
    (tmp_path / CHECKPOINTS).mkdir(parents=True)
    return module._cached()


@pytest.fixture(scope="module")
def random_weights() -> dict[str, torch.Tensor]:
    from torchvision.models import efficientnet_b0

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return dict(efficientnet_b0().state_dict())


def test_without_a_download_it_is_ours(hub: Path) -> None:
    extractor = load()
    assert (extractor.name, extractor.dim) == ("small", 768)
    assert extractor.describe.endswith(".")


def test_vectors_are_plain_and_do_not_depend_on_the_batch(hub: Path) -> None:
    extractor = load("small")
    pictures = torch.rand(70, 3, 20, 20, generator=torch.Generator().manual_seed(0)) * 2 - 1
    vectors = extractor(pictures.requires_grad_())
    assert vectors.shape == (70, 768) and vectors.dtype == torch.float32 and not vectors.requires_grad
    torch.testing.assert_close(extractor(pictures[68:]), vectors[68:], atol=1e-3, rtol=1e-3)
    assert extractor(pictures[:0]).shape == (0, 768)
    assert extractor.near_duplicates(torch.cat([vectors[:5], vectors[2:3]])).count((2, 5)) == 1


def test_loading_draws_no_random_numbers(hub: Path, random_weights: dict[str, torch.Tensor]) -> None:
    torch.save(random_weights, hub)
    state = torch.random.get_rng_state()
    load("small")
    load("torchvision")
    assert torch.equal(state, torch.random.get_rng_state())


def test_torchvision_is_taken_where_it_is(hub: Path, random_weights: dict[str, torch.Tensor]) -> None:
    torch.save(random_weights, hub)
    extractor = load()
    assert (extractor.name, extractor.dim) == ("torchvision", 1280)
    vectors = extractor(torch.rand(2, 4, 30, 30))
    assert vectors.shape == (2, 1280) and bool(vectors.isfinite().all())


def test_offline_is_a_plain_sentence(hub: Path) -> None:
    with pytest.raises(NotFound, match="cannot be downloaded") as caught:
        load("torchvision")
    assert "small" in caught.value.hint


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('executed')",)


@pytest.mark.parametrize("content", [b"", b"<html>", pickle.dumps(Hostile()), pickle.dumps([1, 2])])
def test_a_broken_download_is_said_and_auto_goes_on(hub: Path, content: bytes) -> None:
    hub.write_bytes(content)
    with pytest.raises(Damaged, match="cannot be read") as caught:
        load("torchvision")
    assert str(hub) in caught.value.hint
    assert load("auto").name == "small"


def test_other_weights_are_refused(hub: Path, random_weights: dict[str, torch.Tensor]) -> None:
    name = next(iter(random_weights))
    for odd in ({}, {name: random_weights[name]}, {**random_weights, name: random_weights[name] * float("nan")}):
        torch.save(odd, hub)
        with pytest.raises(Damaged):
            load("torchvision")
    torch.save({"model": "a word"}, hub)
    with pytest.raises(Damaged):
        load("torchvision")


def test_a_wrong_name_is_refused() -> None:
    with pytest.raises(BadInput, match="inception"):
        load("inception")


def test_our_file_may_be_missing_or_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "bundled", lambda kind: tmp_path / kind)
    with pytest.raises(Damaged, match="small"):
        load("small")
    path = tmp_path / "assets" / "features" / "small.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"{}")
    with pytest.raises(Damaged, match="small"):
        load("small")
    save(SmallNetwork(), path)
    assert load("small").dim == 768


def test_the_network_alone_is_frozen_and_carries_gradients() -> None:
    network = load_small()
    assert not network.training and not any(parameter.requires_grad for parameter in network.parameters())
    pictures = torch.zeros(1, 3, 32, 32, requires_grad=True)
    network(pictures).square().sum().backward()
    assert pictures.grad is not None and float(pictures.grad.abs().sum()) > 0
