import dataclasses
from functools import partial

import pytest

from studio.data.info import DatasetInfo
from studio.errors import BadInput
from studio.families import fastgan
from studio.families.base import FROM_NOTHING, family, settings_from
from studio.training.plan import fastgan_macs, generator_macs, plan, speed_of, suggested_base, wanted_kimg
from studio.weights.card import ModelCard

LAPTOP = {"cores": 2, "has_bfloat16": True, "device": "cpu"}
INFO = DatasetInfo(
    id="leaves", title="Leaves", resolution=256, channels=3, count=300, fingerprint="f" * 64, mirror=True,
    labels=("oak", "elm"), counts=(100, 200),
)  # fmt: skip


def card(**changes):
    settings = {"resolution": 64, "channels": 3, "classes": 0, "channel_base": 2048, "channel_max": 128}
    return ModelCard(
        **{
            "id": "b",
            "title": "Base",
            "family": "stylegan2",
            "settings": settings,
            "resolution": 64,
            "files": {"discriminator.safetensors": "0" * 64},
            **changes,
        }
    )


def test_more_time_never_makes_a_smaller_model():
    styled, fast = [], []
    for minutes in (5, 30, 180, 480):
        settings = plan(minutes, INFO, family="stylegan2", **LAPTOP).config.settings
        styled.append(generator_macs(settings["resolution"], settings["channel_base"] // settings["resolution"]))
        settings = plan(minutes, INFO, family="fastgan", **LAPTOP).config.settings
        fast.append((settings["resolution"], settings["width"]))
    assert styled == sorted(styled) and styled[0] < styled[-1]
    assert fast == sorted(fast) and fast[0] < fast[-1]


@pytest.mark.parametrize("family", ["fastgan", "stylegan2"])
@pytest.mark.parametrize("cores", [1, 2, 4])
@pytest.mark.parametrize("quick", [False, True])
def test_no_machine_is_so_slow_that_its_pictures_are_stamps(family, cores, quick):
    machine = {"cores": cores, "has_bfloat16": quick, "device": "cpu"}
    sizes = [plan(minutes, INFO, family=family, **machine).config.settings["resolution"] for minutes in (1, 5, 30, 180)]
    assert sizes == sorted(sizes) and sizes[0] >= 32
    small = dataclasses.replace(INFO, resolution=16)
    assert plan(5, small, family=family, **machine).config.settings["resolution"] == 16


def test_a_critic_of_few_pictures_learns_half_as_fast():
    few, many = (plan(5, dataclasses.replace(INFO, count=count), **LAPTOP).config for count in (100, 1000))
    assert 2 * few.d_learning_rate == many.d_learning_rate and few.g_learning_rate == many.g_learning_rate


@pytest.mark.parametrize("doubled", fastgan.CONVOLUTIONS)
def test_the_plan_counts_what_a_forger_multiplies(doubled):
    forger = fastgan.Generator(fastgan.FastGANSettings(resolution=64, z_dim=8, width=4, doubled=doubled))
    blocks = {size: forger.get_submodule(f"feat_{size}") for size in (8, 16, 32, 64)}
    sums = [size**2 * step.convolution.weight.numel() for size, block in blocks.items() for step in block.steps()]
    assert fastgan_macs(64, 4, doubled) == sum(sums)


def test_five_minutes_see_about_ten_thousand_pictures():
    assert wanted_kimg(5) == 10
    for machine in (LAPTOP, {"cores": 8, "has_bfloat16": False, "device": "cpu"}):
        chosen = plan(5, INFO, **machine)
        shown = float(chosen.reasons[0].split("about ")[1].split(" ")[0].replace(",", ""))
        assert 10_000 <= shown <= 40_000


def test_it_plans_for_the_pictures():
    config = plan(30, INFO, family="stylegan2", **LAPTOP).config
    assert plan(30, INFO, **LAPTOP).config.family == "fastgan"
    assert config.settings["classes"] == 2 and config.mirror and config.dataset_fingerprint == INFO.fingerprint
    assert config.augment == "ada" and config.family == "stylegan2"
    assert config.r1_gamma == pytest.approx(0.0002 * config.settings["resolution"] ** 2 / config.batch, rel=0.05)
    assert settings_from(config.family, config.settings).resolution == config.settings["resolution"]


def test_small_pictures_are_not_enlarged():
    config = plan(480, dataclasses.replace(INFO, resolution=32), cores=64, has_bfloat16=True, device="cuda").config
    assert config.settings["resolution"] == 32


def test_the_reasons_are_sentences():
    for minutes in (5, 30, 180, 480):
        reasons = plan(minutes, INFO, card() if minutes == 30 else None, **LAPTOP).reasons
        assert len(reasons) >= 3 and all(reason.endswith(".") and reason[0].isupper() for reason in reasons)


def test_one_minute_is_not_many():
    told = [plan(minutes, INFO, **LAPTOP).reasons[0] for minutes in (1, 5, 60, 180)]
    assert [" ".join(reason.split()[1:3]) for reason in told] == ["1 minute", "5 minutes", "60 minutes", "3 hours"]


def test_a_base_gives_its_settings_and_gentler_ways():
    base = card()
    config = plan(5, dataclasses.replace(INFO, labels=(), counts=(), resolution=64), base, **LAPTOP).config
    assert config.settings == base.settings and config.ema_rampup == 0 and config.ada_speed_kimg <= 100
    assert config.freeze_d_layers > 0


def test_a_base_that_does_not_fit_is_refused():
    with pytest.raises(BadInput, match="only 256 px"):
        plan(5, INFO, card(family="fastgan", settings={"resolution": 512}, resolution=512), **LAPTOP)


def test_what_differs_from_the_base_is_bridged_and_a_new_critic_gets_a_head_start():
    grey = card(channels=1, settings={**card().settings, "channels": 1}, files={})
    chosen = plan(30, INFO, grey, **LAPTOP)
    assert chosen.config.settings["channels"] == 3 and chosen.config.freeze_d_layers == 0
    assert chosen.config.critic_warmup_kimg > 0 and chosen.config.g_learning_rate == 0.001
    told = " ".join(chosen.reasons)
    assert "red, green and blue" in told and "no critic" in told and "the same pictures" in told
    alike = dataclasses.replace(INFO, resolution=64, labels=(), counts=())
    assert plan(5, alike, card(), **LAPTOP).config.critic_warmup_kimg == 0


@pytest.mark.parametrize(
    ("classes", "columns"), [(0, 6), (2, 6), (3, 6), (4, 8), (5, 5), (7, 7), (12, 6), (16, 8), (26, 6)]
)
def test_a_sheet_shows_a_class_in_each_column_if_it_can(classes, columns):
    labels = tuple(map(str, range(classes)))
    info = dataclasses.replace(INFO, labels=labels, counts=(100,) * classes, count=2000)
    assert plan(5, info, **LAPTOP).config.preview_columns == columns


def test_cores_share_the_batch_where_that_is_quicker():
    def shared_by(minutes=5.0, **given):
        return plan(minutes, INFO, **(LAPTOP | given)).config.processes

    styled = {"family": "stylegan2"}
    assert shared_by(**styled) == shared_by(family="r3gan") == shared_by(**styled, cores=8) == 2
    alone = ({"device": "cuda"}, {"cores": 1}, {"minutes": 0.5})
    assert {shared_by(**styled, **given) for given in alone} == {shared_by(**given) for given in alone} == {1}
    assert shared_by(family="dcgan") == 1
    projected = plan(5, INFO, **LAPTOP | {"cores": 8}).config
    assert projected.processes == projected.ghost_batches == 2
    alone = plan(5, INFO, family="fastgan", **LAPTOP, changes={"processes": 1}).config
    assert alone.processes == alone.ghost_batches == 1, "what is not shared needs no parts"


def test_odd_sizes():
    assert plan(5, dataclasses.replace(INFO, resolution=96), **LAPTOP).config.settings["resolution"] == 32
    with pytest.raises(BadInput, match="50 px"):
        plan(5, dataclasses.replace(INFO, resolution=50), **LAPTOP)


def test_a_very_slow_machine_still_gets_a_plan():
    config = plan(1, INFO, cores=1, has_bfloat16=False, device="cpu").config
    assert config.settings["resolution"] <= 32


def test_another_family_keeps_its_own_manners():
    base = card(family="dcgan", settings={"resolution": 64, "channels": 3, "width": 64})
    config = plan(5, INFO, base, **LAPTOP).config
    assert config.family == "dcgan" and config.path_length_weight == 0 and config.augment == "diffaugment"


def test_before_the_projected_critic_a_fresh_forger_begins_with_blurred_pictures():
    config = plan(5, INFO, family="fastgan", **LAPTOP).config
    assert config.settings["projected"] and config.objective == "hinge" and config.r1_gamma == 0
    assert config.blur_px == config.settings["resolution"] / 32 and 0 < config.blur_kimg <= 10
    assert (config.batch, config.g_learning_rate, config.beta1) == (32, 0.0012, 0.0)
    assert config.calm_share == 0 < plan(30, INFO, family="fastgan", **LAPTOP).config.calm_share
    plain = card(family="fastgan", settings={"resolution": 64, "channels": 3})
    config = plan(5, dataclasses.replace(INFO, labels=(), counts=(), resolution=64), plain, **LAPTOP).config
    assert (config.batch, config.beta1, config.blur_px) == (8, 0.5, 0), "a FastGAN with its authors' critic"
    assert plan(5, INFO, family="stylegan2", **LAPTOP).config.blur_px == 0


def test_before_the_projected_critic_the_rates_go_by_the_number_of_pictures_and_the_base():
    base = card(family="fastgan", settings={"resolution": 64, "channels": 3, "projected": True, "width": 24})
    cases = ((1000, base, 0.0012, 5), (100, base, 0.0012, 5), (1000, None, 0.0004, 0), (100, None, 0.0002, 0))
    for count, start, critic, settles in cases:
        info = dataclasses.replace(INFO, labels=(), counts=(), resolution=64, count=count)
        config = plan(30, info, start, family="" if start else "fastgan", **LAPTOP).config
        assert (config.g_learning_rate, config.d_learning_rate, config.settle_kimg) == (0.0012, critic, settles)
        assert config.closer == (config.settings["resolution"] >= 128) and config.class_pace == 1
    classed = dataclasses.replace(INFO, resolution=64)
    paces = [plan(30, classed, start, family="fastgan", **LAPTOP).config.class_pace for start in (base, None)]
    assert classed.labels and paces[0] < 1 == paces[1]


def test_what_grows_begins_as_blurred_as_its_enlarged_pictures():
    base = card(family="fastgan", settings={"resolution": 64, "channels": 3, "projected": True, "width": 24})
    for size, blur in ((64, 0), (128, 2)):
        info = dataclasses.replace(INFO, labels=(), counts=(), resolution=size)
        config = plan(30, info, base, **LAPTOP).config
        assert (config.settings["resolution"], config.blur_px) == (size, blur)
        assert not blur or 0 < config.blur_kimg <= 10


def test_the_projected_critic_looks_closer_at_pictures_that_it_sees_as_they_are():
    plain = dataclasses.replace(INFO, labels=(), counts=())
    for size, closer in ((64, False), (128, True), (256, True)):
        info = dataclasses.replace(plain, resolution=size)
        assert plan(480, info, family="fastgan", cores=64, has_bfloat16=True, device="cpu").config.closer == closer


@pytest.mark.parametrize("family_name", FROM_NOTHING)
def test_every_family_can_be_planned_and_built(family_name):
    info = dataclasses.replace(INFO, resolution=32)
    planned = plan(5, info, family=family_name, device="cpu", cores=2).config
    settings = settings_from(planned.family, planned.settings)
    generator = family(planned.family).generator(settings)
    assert planned.family == family_name and generator.resolution == 32 and generator.classes == 2


def test_a_short_run_starts_from_a_model_of_its_size():
    info, speed = dataclasses.replace(INFO, labels=(), counts=()), speed_of("cpu", 2, True)
    suggested = partial(suggested_base, family="stylegan2")
    cards = {
        "small": card(resolution=32, settings=card().settings | {"resolution": 32}),
        "young": card(kimg=10.0),
        "old": card(kimg=400.0),
        "grey": card(channels=1, kimg=999.0, settings=card().settings | {"channels": 1}),
        "no critic": card(files={}, kimg=999.0),
        "other": card(family="dcgan", kimg=999.0),
    }
    assert suggested(cards, info, 5, speed=speed) == "old"
    assert suggested({"small": cards["small"]}, info, 5, speed=speed) == "small"
    assert suggested({"small": cards["small"]}, info, 480, speed=speed) == ""
    assert suggested(cards, info, 1, speed=speed_of("cpu", 2, False)) == "old", "larger than a fresh one would be"
    huge = card(
        resolution=256, settings=card().settings | {"resolution": 256, "channel_base": 16384, "channel_max": 512}
    )
    assert suggested({"huge": huge}, info, 5, speed=speed_of("cpu", 2, False)) == ""
    assert suggested(cards, INFO, 5, speed=speed) == "", "classes need a model that knows them"
    grey = dataclasses.replace(info, channels=1)
    assert suggested(cards, grey, 5, speed=speed) == "grey"
    assert suggested({"old": cards["old"]}, grey, 5, speed=speed) == "old"
    quick = {"resolution": 64, "channels": 3, "width": 16, "projected": True}
    cards["quick"] = card(family="fastgan", settings=quick)
    small = dataclasses.replace(info, resolution=64)
    for minutes in (1, 5):
        told = " ".join(plan(minutes, small, cards["quick"], **LAPTOP).reasons)
        assert ("first impression" in told) == (minutes == 1)
    assert suggested_base(cards, small, 5, speed=speed) == "quick", "what is the first choice needs a model of its kind"
    assert suggested_base(cards, dataclasses.replace(small, labels=("oak", "elm")), 5, speed=speed) == "quick"
    assert suggested_base(cards, info, 30, speed=speed) == "quick", "it can grow, if there is time"
    plain = card(family="fastgan", settings=quick | {"projected": False})
    assert suggested_base({"plain": plain}, info, 30, speed=speed) == "", "the critic of its authors cannot grow"
    assert suggested_base(cards, small, 180, speed=speed) == "", "with more time a fresh one is wider"


def test_a_base_grows_as_often_as_there_is_time():
    info = dataclasses.replace(INFO, labels=(), counts=(), resolution=512)

    def grown(minutes, machine=LAPTOP, base=None, **changes):
        return plan(minutes, dataclasses.replace(info, **changes), base or card(), **machine).config.settings[
            "resolution"
        ]

    assert [grown(minutes) for minutes in (5, 30, 180, 480)] == [128, 128, 256, 256]
    slow, quick = LAPTOP | {"has_bfloat16": False}, LAPTOP | {"device": "cuda"}
    assert grown(5, slow) == 64
    assert grown(5, quick) == 256, "at 512 px only 4 channels would be left"
    assert grown(5, quick, card(settings=card().settings | {"channel_base": 4096})) == 512
    assert [grown(480, resolution=size) for size in (64, 128, 192)] == [64, 128, 64]
    assert grown(480, resolution=64 * 3 * 4) == 256


def test_large_sets_from_nothing_are_varied_slowly():
    few, many = (dataclasses.replace(INFO, count=count, labels=(), counts=()) for count in (100, 2000))
    assert plan(5, few, family="stylegan2", **LAPTOP).config.ada_speed_kimg < 20
    assert plan(5, many, family="stylegan2", **LAPTOP).config.ada_speed_kimg == 500
    assert plan(5, many, card(), **LAPTOP).config.ada_speed_kimg <= 100
