import torch

from studio.training.health import Health, diversity


def test_the_critic_wins_only_after_a_while_and_is_told_once():
    health = Health()
    told = [health.judge_critic(kimg=kimg, sign_mean=0.95, augment_p=0.9, adaptive=True) for kimg in range(0, 60, 5)]
    assert [place * 5 for place, alarm in enumerate(told) if alarm] == [20]


def test_a_pause_in_winning_starts_anew():
    health = Health()
    for kimg, sign in ((0, 0.95), (15, 0.5), (16, 0.95), (30, 0.95)):
        assert health.judge_critic(kimg=kimg, sign_mean=sign, augment_p=0.9, adaptive=True) is None
    assert health.judge_critic(kimg=37, sign_mean=0.95, augment_p=0.9, adaptive=True).topic == "critic"


def test_a_sure_critic_is_no_alarm_while_ada_still_rises():
    health = Health()
    assert all(health.judge_critic(kimg=k, sign_mean=0.99, augment_p=0.2, adaptive=True) is None for k in range(90))
    assert any(health.judge_critic(kimg=k, sign_mean=0.99, augment_p=0.0, adaptive=False) for k in range(90))


def test_collapse_is_told_and_forgotten_when_it_is_over():
    health = Health()
    assert health.judge_diversity(kimg=0.5, diversity=0.01, highest=0.5) is None
    assert health.judge_diversity(kimg=5, diversity=0.2, highest=0.5) is None
    assert health.judge_diversity(kimg=5, diversity=0.09, highest=0.5).hint
    assert health.judge_diversity(kimg=6, diversity=0.09, highest=0.5) is None
    assert health.judge_diversity(kimg=7, diversity=0.3, highest=0.5) is None
    assert health.judge_diversity(kimg=8, diversity=0.05, highest=0.5)


def test_diversity():
    picture = torch.rand(1, 3, 32, 32) * 2 - 1
    assert diversity(picture.repeat(5, 1, 1, 1)) < 1e-6
    black_and_white = torch.stack([torch.ones(3, 32, 32), -torch.ones(3, 32, 32)])
    assert diversity(black_and_white) == 1.0
