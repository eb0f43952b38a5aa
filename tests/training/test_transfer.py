"""From a base model to other colours, classes and sizes: the first pictures are the base's, and training goes on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from stand_ins import FINGERPRINT, make_config, make_dataset, make_run
from torch import Tensor, nn

from studio.data.dataset import open_dataset
from studio.data.info import DatasetInfo, read_info
from studio.families.base import FAMILIES, NetworkSettings, family, settings_from
from studio.ops import seeds
from studio.ops.resample import upsample
from studio.training import publish, transfer
from studio.training.base_model import fit
from studio.training.bench import Bench
from studio.training.config import TrainConfig
from studio.training.loop import train
from studio.training.pictures import recoloured
from studio.training.state import TrainState, new_state
from studio.training.step import train_step
from studio.weights.card import ModelCard
from studio.weights.store import load_card, load_generator
from tests.making import SETTINGS, make_model

CPU = torch.device("cpu")
BENT = ("dcgan", "mlp")
"""Families whose colours pass a tanh."""
OPAQUE = ("stylegan2", "stylegan3", "lightweight")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def settings_of(name: str, **changes: Any) -> NetworkSettings:
    return settings_from(name, {**SETTINGS[name], **changes})


def generator_of(name: str, settings: NetworkSettings) -> nn.Module:
    torch.manual_seed(3)
    return family(name).generator(settings).eval()


@torch.no_grad()
def pictures_of(generator: Any, label: Tensor | None = None) -> Tensor:
    z = seeds.latents([1, 2, 3], generator.z_dim)
    noise = seeds.noise(4, generator.noise_sizes)
    return generator.synthesize(generator.map(z, None if label is None else label.expand(3, -1)), noise)


def is_grey_of(name: str, found: Tensor, pictures: Tensor) -> bool:
    """Whether these are the means of the colours, before a tanh bends them (and where it does not swallow one)."""
    if name in BENT:
        known = pictures.abs().amax(dim=1, keepdim=True) < 0.99
        found, pictures = found[known].atanh()[:, None], pictures.atanh().movedim(1, -1)[known[:, 0]]
    grey = pictures[:, :3].mean(dim=1, keepdim=True)
    return found.shape == grey.shape and torch.allclose(found, grey, atol=1e-3)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_grey_model_in_colour_makes_the_same_pictures(name: str) -> None:
    grey, colour = settings_of(name, channels=1), settings_of(name)
    before = generator_of(name, grey)
    after = transfer.carried(before, family(name), colour, settings=grey)
    expected = pictures_of(before)
    assert expected.std() > 1e-4
    assert torch.allclose(pictures_of(after), expected.expand(-1, 3, -1, -1), atol=1e-5)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_model_in_colour_becomes_one_in_grey(name: str) -> None:
    colour, grey = settings_of(name), settings_of(name, channels=1)
    before = generator_of(name, colour)
    found = pictures_of(transfer.carried(before, family(name), grey, settings=colour))
    assert is_grey_of(name, found, pictures_of(before))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", OPAQUE)
def test_a_model_with_transparency_begins_opaque(name: str, channels: int) -> None:
    plain, clear = settings_of(name, channels=channels), settings_of(name, channels=4)
    before = generator_of(name, plain)
    after = pictures_of(transfer.carried(before, family(name), clear, settings=plain))
    assert torch.allclose(after[:, :3], pictures_of(before).expand(-1, 3, -1, -1), atol=1e-5)
    assert torch.allclose(after[:, 3], torch.ones([]), atol=1e-5)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_new_classes_begin_with_the_pictures_of_the_base(name: str) -> None:
    plain, classed = settings_of(name), settings_of(name, classes=3)
    before = generator_of(name, plain)
    after = transfer.carried(before, family(name), classed, settings=plain, places=(None,) * 3)
    expected = pictures_of(before)
    for label in (None, *torch.eye(3)):
        assert torch.allclose(pictures_of(after, label), expected, atol=1e-5)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_known_classes_go_on_and_others_are_the_mean(name: str) -> None:
    few, many = settings_of(name, classes=2), settings_of(name, classes=3)
    before = generator_of(name, few)
    after = transfer.carried(before, family(name), many, settings=few, places=(1, None, 0))
    assert torch.allclose(pictures_of(after, torch.eye(3)[0]), pictures_of(before, torch.eye(2)[1]), atol=1e-5)
    assert torch.allclose(pictures_of(after, torch.eye(3)[2]), pictures_of(before, torch.eye(2)[0]), atol=1e-5)
    assert torch.allclose(pictures_of(after, torch.eye(3)[1]), pictures_of(before), atol=1e-5)


def test_classes_are_found_by_name_or_in_order() -> None:
    assert transfer.class_places(("a", "b"), ("x", "y")) == (0, 1)
    assert transfer.class_places(("a", "b"), ("b", "c", "a")) == (1, None, 0)
    assert transfer.class_places((), ("a",)) == (None,)


def test_a_cut_model_plays_its_smaller_picture() -> None:
    whole, half = settings_of("stylegan2", resolution=32), settings_of("stylegan2")
    before = generator_of("stylegan2", whole)
    after: Any = transfer.carried(before, family("stylegan2"), half, settings=whole)
    z = seeds.latents([1, 2], 16)
    with torch.no_grad():
        state: tuple[Tensor, ...] = ()
        styles: Tensor = before.map(z)  # type: ignore[operator]
        for stage in range(3):
            state = before.run_stage(stage, state, before.modulate(stage, styles), None)  # type: ignore[operator]
        assert torch.allclose(after.synthesize(after.map(z)), state[-1], atol=1e-5) and state[-1].shape[-1] == 16


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_model_that_grows_begins_with_its_pictures_enlarged(times: int) -> None:
    small, large = settings_of("stylegan2"), settings_of("stylegan2", resolution=16 * 2**times)
    before = generator_of("stylegan2", small)
    after: Any = transfer.carried(before, family("stylegan2"), large, settings=small)
    z = seeds.latents([1, 2], 16)
    with torch.no_grad():
        enlarged: Tensor = before(z)
        for _ in range(times):
            enlarged = upsample(enlarged)
        assert torch.allclose(after(z), enlarged, atol=1e-5) and after(z).shape[-1] == 16 * 2**times


@pytest.mark.parametrize("classes", [0, 2])
@pytest.mark.parametrize("times", [1, 2])
def test_a_fastgan_that_grows_begins_nearly_so(times: int, classes: int) -> None:
    small = settings_of("fastgan", resolution=16, projected=True, classes=classes)
    large = dataclasses.replace(small, resolution=16 * 2**times)
    before: Any = generator_of("fastgan", small).train()
    after: Any = transfer.carried(before, family("fastgan"), large, settings=small)
    label = torch.eye(2)[torch.arange(16) % 2] if classes else None
    with torch.no_grad():
        pictures, grown = (network(seeds.latents(range(16), small.z_dim), label) for network in (before, after))
        shrunk = F.avg_pool2d(grown, 2**times)
    assert grown.shape[-1] == large.resolution
    assert torch.corrcoef(torch.stack([pictures.flatten(), shrunk.flatten()]))[0, 1] > 0.9


@pytest.mark.parametrize("size", [32, 64])
def test_a_grown_base_trains(tmp_path: Path, size: int) -> None:
    card = model(tmp_path / "base")
    before = load_generator(tmp_path / "base")[0]
    _, bench, state = begun(tmp_path, card, {"resolution": size}, settings={"resolution": size})
    enlarged = pictures_of(before)
    while enlarged.shape[-1] < size:
        enlarged = upsample(enlarged)
    assert torch.allclose(pictures_of(state.average), enlarged, atol=1e-5)
    found = fit(card, read_info(tmp_path / "pictures"), size)
    assert state.average.resolution == size and found.critic == "partly" and "grows" in found.reasons[0]
    for _ in range(3):
        train_step(bench, state)


@pytest.mark.parametrize("name", ["stylegan2", "stylegan3", "r3gan", "dcgan", "mlp", "lightweight", "lucidrains"])
@pytest.mark.parametrize(("before", "after"), [(1, 3), (1, 4), (3, 4), (3, 1)])
def test_a_critic_judges_widened_pictures_as_before(name: str, before: int, after: int) -> None:
    narrow, wide = settings_of(name, channels=before), settings_of(name, channels=after)
    critic = family(name).discriminator(narrow).eval()
    widened = transfer.carried(critic, family(name), wide, settings=narrow, critic=True)
    shown = torch.rand(4, min(before, after), 16, 16) * 2 - 1
    with torch.no_grad():
        assert torch.allclose(widened(recoloured(shown, after)), critic(recoloured(shown, before)), atol=1e-4)


def test_a_critic_keeps_what_it_can() -> None:
    kind, plain, classed = family("stylegan2"), settings_of("stylegan2"), settings_of("stylegan2", classes=3)
    critic = kind.discriminator(plain)
    after = transfer.carried(critic, kind, classed, settings=plain, critic=True).state_dict()
    kept = [name for name, value in critic.state_dict().items() if torch.equal(after[name], value)]
    assert len(kept) == len(critic.state_dict()) - 2  # what makes the logit reads the class now
    assert after["b4.out.weight"].shape[0] == classed.channels_at(4)  # type: ignore[attr-defined]


def test_pictures_take_the_colours_of_the_networks() -> None:
    grey = torch.rand(2, 1, 4, 4) * 2 - 1
    assert torch.equal(recoloured(grey, 3), grey.expand(-1, 3, -1, -1)) and recoloured(grey, 1) is grey
    assert torch.equal(recoloured(grey, 4)[:, 3], torch.ones(2, 4, 4))
    clear = torch.cat([grey.expand(-1, 3, -1, -1), -torch.ones(2, 1, 4, 4)], dim=1)
    assert torch.equal(recoloured(clear, 3), torch.ones(2, 3, 4, 4))


# ── whole runs ──


def model(folder: Path, name: str = "stylegan2", *, critic: bool = True, **changes: Any) -> ModelCard:
    """A base on the shelf, with a critic or without."""
    make_model(folder, name, **({"critic_width": 4} if name == "fastgan" else {}), **changes)
    generator, card = load_generator(folder)
    if not critic:
        return card
    from studio.weights.store import save_model

    torch.manual_seed(1)
    return save_model(
        folder, generator, card, discriminator=family(name).discriminator(settings_from(name, card.settings))
    )


def begun(
    tmp_path: Path, card: ModelCard, info: dict[str, Any], **changes: Any
) -> tuple[TrainConfig, Bench, TrainState]:
    pictures = make_dataset(tmp_path / "pictures", **info)
    dataset = open_dataset(pictures)
    fitting = fit(card, dataset.info)
    settings = {**fitting.settings, **changes.pop("settings", {})}
    config = dataclasses.replace(
        make_config(pictures, base_model=str(tmp_path / card.id), path_length_weight=0.0, r1_gamma=1.0),
        family=card.family, settings=settings, **changes,
    )  # fmt: skip
    state = new_state(config, CPU, publish.load_base(config, dataset.info))
    bench = Bench(
        config=config, device=CPU, dtype=torch.float32, batch=dataset.batch, count=len(dataset),
        classless=not dataset.info.labels,
    )  # fmt: skip
    return config, bench, state


MISMATCHES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"channels": 1}),
    ({"channels": 1}, {}),
    ({}, {"channels": 4}),
    ({"channels": 4}, {"channels": 1}),
    ({}, {"classes": 3}),
    ({"classes": 3}, {}),
    ({"classes": 2}, {"classes": 3}),
    ({"channels": 1, "classes": 2}, {"classes": 3, "resolution": 24}),
]


@pytest.mark.parametrize("name", sorted(FAMILIES))
@pytest.mark.parametrize(("base", "pictures"), MISMATCHES)
def test_every_mismatch_trains(tmp_path: Path, name: str, base: dict[str, Any], pictures: dict[str, Any]) -> None:
    card = model(tmp_path / "base", name, critic=name in ("stylegan2", "fastgan"), **base)
    before = load_generator(tmp_path / "base")[0]
    _, bench, state = begun(tmp_path, card, {"resolution": 16, **pictures})
    expected, found = pictures_of(before), pictures_of(state.average)
    if found.shape[1] < expected.shape[1] == 3:
        assert is_grey_of(name, found, expected)
    elif base.get("classes") != 2:  # no class preferred: another mean
        assert torch.allclose(found, recoloured(expected, found.shape[1]), atol=1e-5)
    for _ in range(3):
        metrics = train_step(bench, state)
        assert all(bool(torch.isfinite(value)) for value in metrics.values())
    assert {"loss_g", "loss_d"} <= metrics.keys()


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_run_that_sees_grey_pictures_in_colour_goes_on(tmp_path: Path, name: str) -> None:
    card = model(tmp_path / "base", name, critic=name in ("stylegan2", "fastgan"))
    asked = {key: card.settings[key] for key in ("channels", "layers") if key in card.settings}
    _, bench, state = begun(tmp_path, card, {"resolution": 16, "channels": 1}, settings=asked)
    assert state.average.channels == 3
    train_step(bench, state)


def test_a_cut_base_trains(tmp_path: Path) -> None:
    card = model(tmp_path / "base", resolution=32)
    _, bench, state = begun(tmp_path, card, {"resolution": 16})
    assert state.average.resolution == 16 and fit(card, read_info(tmp_path / "pictures")).critic == "partly"
    for _ in range(3):
        train_step(bench, state)


def test_classes_can_be_asked_for(tmp_path: Path) -> None:
    card = model(tmp_path / "base")
    config, bench, state = begun(tmp_path, card, {"resolution": 16, "classes": 3}, settings={"classes": 3})
    before = load_generator(tmp_path / "base")[0]
    for label in torch.eye(3):
        assert torch.allclose(pictures_of(state.average, label), pictures_of(before), atol=1e-5)
    for _ in range(3):
        train_step(bench, state)
    apart = [pictures_of(state.generator, label) for label in torch.eye(3)]
    assert not torch.allclose(apart[0], apart[1], atol=1e-6)
    card = publish.make_card(config, read_info(tmp_path / "pictures"), state, model_id="child")
    assert card.classes == ("class 0", "class 1", "class 2")


def test_without_classes_the_names_of_the_base_stay(tmp_path: Path) -> None:
    card = model(tmp_path / "base", classes=3)
    config, _, state = begun(tmp_path, card, {"resolution": 16})
    assert publish.make_card(config, read_info(tmp_path / "pictures"), state, model_id="m").classes == card.classes


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(before: dict[str, Tensor], network: nn.Module) -> bool:
    return all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_only_the_critic_learns_during_the_warm_up(tmp_path: Path) -> None:
    card = model(tmp_path / "base", critic=False)
    _, bench, state = begun(tmp_path, card, {"resolution": 16}, critic_warmup_kimg=0.012, path_length_weight=2.0)
    forger, average, critic = weights(state.generator), weights(state.average), weights(state.discriminator)
    for _ in range(3):
        metrics = train_step(bench, state)
        assert "loss_g" not in metrics and "path_length" not in metrics
    assert same(forger, state.generator) and same(average, state.average) and not same(critic, state.discriminator)
    assert state.augment_p == bench.config.augment_start_p and state.sign_count == 0
    assert "loss_g" in train_step(bench, state)
    assert not same(forger, state.generator) and not same(average, state.average)


def test_a_run_stopped_within_the_warm_up_goes_on_bit_for_bit(tmp_path: Path) -> None:
    card = model(tmp_path / "base", critic=False)
    pictures = make_dataset(tmp_path / "pictures", resolution=16)
    config = dataclasses.replace(
        make_config(pictures, base_model=str(tmp_path / "base"), kimg=0.024), settings=dict(card.settings),
        critic_warmup_kimg=0.016,
    )  # fmt: skip
    steps = iter(["train"] * 2 + ["interrupt"])
    whole = make_run(tmp_path / "whole", dataclasses.replace(config, publish_to=str(tmp_path / "a")))
    parts = make_run(tmp_path / "parts", dataclasses.replace(config, publish_to=str(tmp_path / "b")))
    list(train(whole))
    assert 0 < list(train(parts, wish=lambda: next(steps)))[-1].kimg < 0.016
    list(train(parts))
    first, second = load_card(tmp_path / "a"), load_card(tmp_path / "b")
    assert first.files["model.safetensors"] == second.files["model.safetensors"]
    assert first.files["discriminator.safetensors"] == second.files["discriminator.safetensors"]


def test_a_child_of_a_child_knows_both(tmp_path: Path) -> None:
    base = model(tmp_path / "base")
    pictures = make_dataset(tmp_path / "pictures", resolution=16)
    for parent, name in (("base", "child"), ("child", "grandchild")):
        config = dataclasses.replace(
            make_config(pictures, base_model=str(tmp_path / parent), kimg=0.004, title=name.title()),
            settings=dict(base.settings), publish_to=str(tmp_path / name),
        )  # fmt: skip
        list(train(make_run(tmp_path / f"run of {name}", config)))
    child, grandchild = load_card(tmp_path / "child"), load_card(tmp_path / "grandchild")
    assert [(one.id, one.sha256) for one in child.lineage] == [("base", base.sha256)]
    assert [one.id for one in grandchild.lineage] == ["child", "base"]
    assert grandchild.lineage[0].sha256 == child.sha256 and grandchild.lineage[0].title == "Child"


INFO = DatasetInfo(id="d", title="Drawn", resolution=16, channels=3, count=50, fingerprint=FINGERPRINT)


def test_a_new_critic_gets_a_head_start_and_a_careful_forger(tmp_path: Path) -> None:
    planned = {"g_learning_rate": 0.002, "freeze_d_layers": 4}
    bare, whole = model(tmp_path / "bare", critic=False), model(tmp_path / "whole")
    found = fit(bare, INFO)
    assert found.critic == "new" and any("no critic" in reason for reason in found.reasons)
    assert found.manners(20.0, planned) == {"critic_warmup_kimg": 0.5, "g_learning_rate": 0.001, "freeze_d_layers": 0}
    assert fit(whole, INFO).manners(20.0, planned) == {} and fit(whole, INFO).reasons == ()
