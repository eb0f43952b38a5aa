import pytest
import torch

from studio.training.health import DETECTORS, Sentinel, Verdict, Vitals, diversity


def reading(kimg=5.0, real=1.0, fake=-1.0, **given):
    figures = {"real_logit": real, "fake_logit": fake, "loss_g": 1.0, "loss_d": 1.0, "g_norm": 1.0, "d_norm": 1.0}
    figures |= given.pop("figures", {})
    return Vitals(**{"kimg": kimg, "seconds": kimg * 10, "sign": 0.5, "adaptive": True, "figures": figures, **given})


def topics(readings, sentinel=None):
    sentinel = sentinel or Sentinel()
    return [alarm.topic for vitals in readings for alarm in sentinel.examine(vitals)]


def test_every_detector_has_its_words_and_a_remedy():
    from studio.training.remedy import REMEDIES

    assert len({kind.topic for kind in DETECTORS}) == len(DETECTORS)
    for kind in DETECTORS:
        assert kind.message.endswith(".") and kind.hint.endswith(".") and kind().judge(Vitals()) is Verdict.FINE
        assert kind.remedies and set(kind.remedies) <= set(REMEDIES)


def test_a_healthy_run_is_left_alone():
    run = [
        reading(
            kimg / 10, real=1 + kimg % 3 / 5, fake=-1 - kimg % 5 / 9, sign=0.4 + kimg % 4 / 10, augment_p=0.3,
            diversity=0.3 if kimg % 9 == 0 else None, highest_diversity=0.5, epochs=kimg, copied=0.1, coverage=0.5,
        )
        for kimg in range(600)
    ]  # fmt: skip
    assert topics(run) == []


def test_broken_numbers_are_grave_at_once():
    alarm = Sentinel().examine(reading(broken="A weight is no number any more."))[0]
    assert alarm.grave and alarm.topic == "numbers" and alarm.message == "A weight is no number any more."


def test_divergence_is_told_and_grave_when_it_runs_away():
    assert topics([reading(fake=-400.0)]) == []
    assert topics([reading(fake=-400.0)] * 9) == ["divergence"]
    sentinel = Sentinel()
    alarms = [alarm for _ in range(3) for alarm in sentinel.examine(reading(real=1e9))]
    assert [alarm.grave for alarm in alarms] == [True]


def sheet(kimg, now):
    return reading(kimg, diversity=now, highest_diversity=0.5)


def test_collapse_is_told_forgotten_when_over_and_grave_when_hard():
    sentinel = Sentinel()
    assert topics([sheet(0.5, 0.01), sheet(1.0, 0.01), sheet(1.5, 0.01)], sentinel) == []
    assert topics([sheet(5, 0.2), sheet(6, 0.09), reading(6.5), sheet(7, 0.09), sheet(8, 0.08)], sentinel) == [
        "collapse"
    ]
    assert topics([sheet(9, 0.3), sheet(10, 0.05), sheet(11, 0.05)], sentinel) == ["collapse"]
    graves = [alarm.grave for kimg in range(12, 20) for alarm in sentinel.examine(sheet(kimg, 0.001))]
    assert graves == [True]


def test_the_critic_wins_only_after_a_while_and_is_told_once():
    sentinel = Sentinel()
    told = [kimg for kimg in range(60) if topics([reading(kimg, sign=0.95, augment_p=0.9)], sentinel)]
    assert len(told) == 1 and 20 <= told[0] <= 25


def test_a_pause_in_winning_starts_anew():
    sentinel = Sentinel()
    signs = [0.95] * 18 + [0.2] + [0.95] * 18
    assert topics([reading(kimg, sign=sign, augment_p=0.9) for kimg, sign in enumerate(signs)], sentinel) == []
    assert topics([reading(45, sign=0.95, augment_p=0.9)], sentinel) == ["critic"]


def test_a_sure_critic_is_no_alarm_while_ada_still_rises_and_one_sooner_with_few_pictures():
    assert topics(reading(k, sign=0.99, augment_p=0.2) for k in range(90)) == []
    assert topics(reading(k, sign=0.99, adaptive=False) for k in range(90)) == ["critic"]
    assert topics(reading(k / 4, sign=0.99, adaptive=False, epochs=k * 50.0) for k in range(12)) == ["critic"]
    assert topics(reading(k / 4, sign=0.99, adaptive=False, epochs=k * 0.1) for k in range(12)) == []


def test_a_critic_with_trained_eyes_may_be_surer():
    often = {"adaptive": False, "epochs": 500.0, "sighted": True}
    assert topics(reading(k / 4, sign=0.93, **often) for k in range(200)) == []
    assert topics(reading(k / 4, sign=1.0, **often) for k in range(16)) == ["critic"]


def test_a_critic_that_learns_nothing_is_seen():
    assert topics(reading(k / 8, real=0.5, fake=6.0) for k in range(12)) == ["fooled"]
    assert topics(reading(k / 8, real=0.5, fake=6.0 if k % 3 else -1.0) for k in range(40)) == []


def test_steps_that_throw_away_what_was_learned_are_seen_at_once():
    usual = [reading(k / 100, figures={"g_moved": 0.012, "d_moved": 0.02}) for k in range(20)]
    assert topics(usual) == []
    for whose in ("g_moved", "d_moved"):
        assert topics([*usual, *(reading(0.2 + k / 100, figures={whose: 0.2}) for k in range(4))]) == ["strides"]


def test_a_signal_that_vanishes_is_seen():
    lively = [reading(k / 8, figures={"g_norm": 2.0}) for k in range(20)]
    faint = [reading(2.5 + k / 8, figures={"g_norm": 1e-6}) for k in range(20)]
    assert topics(lively) == [] and topics(lively + faint) == ["signal"]


def test_swinging_is_seen_and_noise_is_not():
    slow = [reading(1 + k / 8, real=9.0 if k // 4 % 2 else -7.0, fake=0.0) for k in range(40)]
    quick = [reading(1 + k / 8, real=9.0 if k % 2 else -7.0, fake=0.0) for k in range(40)]
    assert topics(slow) == ["oscillation"] and topics(quick) == []


def test_copies_are_told_until_they_are_fewer():
    sentinel = Sentinel()
    shares = (0.1, None, 0.4, None, 0.25, 0.1, 0.5)
    assert [topics([reading(copied=share)], sentinel) for share in shares] == [
        [], [], ["copies"], [], [], [], ["copies"],
    ]  # fmt: skip


def test_a_model_that_draws_few_kinds_is_told_once_it_had_time():
    stages = [reading(kimg, coverage=0.1) for kimg in range(5, 70, 5)]
    assert topics(stages) == ["narrow"] and topics(stages[:6]) == []
    assert topics([reading(kimg, coverage=0.3 if kimg % 20 else 0.1) for kimg in range(5, 70, 5)]) == []


@pytest.mark.parametrize("size", [8, 32])
def test_diversity(size):
    picture = torch.rand(1, 3, size, size) * 2 - 1
    assert diversity(picture.repeat(5, 1, 1, 1)) < 1e-6
    black_and_white = torch.stack([torch.ones(3, size, size), -torch.ones(3, size, size)])
    assert diversity(black_and_white) == 1.0
