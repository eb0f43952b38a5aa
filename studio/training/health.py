"""Alarms in plain words: what is happening, and the one thing to change."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

CRITIC_WINS_SIGN = 0.9
CRITIC_WINS_KIMG = 20.0
AUGMENT_HIGH = 0.8
COLLAPSE_SHARE = 0.2
COLLAPSE_MINIMUM_KIMG = 2.0
MEMORISED_AUGMENT = 1.0


@dataclass(frozen=True)
class Alarm:
    """One finding. `topic` is a short key, so that each is told once until it is over."""

    topic: str
    message: str
    hint: str


@dataclass(kw_only=True)
class Health:
    """Watches a run. It tells an alarm once, and again only after the trouble had gone."""

    told: set[str] = field(default_factory=set)
    winning_since_kimg: float | None = None

    def judge_critic(self, *, kimg: float, sign_mean: float, augment_p: float, adaptive: bool) -> Alarm | None:
        """The critic wins when r_t stays above 0.9 although the pictures are already varied strongly."""
        wins = sign_mean > CRITIC_WINS_SIGN and (augment_p > AUGMENT_HIGH or not adaptive)
        if not wins:
            self.winning_since_kimg = None
            self.told.discard("critic")
            return None
        if self.winning_since_kimg is None:
            self.winning_since_kimg = kimg
        if kimg - self.winning_since_kimg < CRITIC_WINS_KIMG:
            return None
        hint = (
            "Start a new run from the newest snapshot with ten times the R1 gamma."
            if adaptive
            else "Choose ADA as augmentation."
        )
        return self._once(
            Alarm("critic", "The critic knows your pictures by heart, so the forger learns little from it.", hint)
        )

    def judge_diversity(self, *, kimg: float, diversity: float, highest: float) -> Alarm | None:
        """The run has collapsed when fixed latents differ by less than a fifth of what they once did."""
        if kimg < COLLAPSE_MINIMUM_KIMG or highest <= 0 or diversity > COLLAPSE_SHARE * highest:
            self.told.discard("collapse")
            return None
        return self._once(
            Alarm(
                "collapse",
                "The pictures are becoming all alike.",
                "Stop, and start a new run from an earlier snapshot.",
            )
        )

    def _once(self, alarm: Alarm) -> Alarm | None:
        if alarm.topic in self.told:
            return None
        self.told.add(alarm.topic)
        return alarm


def diversity(pictures: Tensor) -> float:
    """How much pictures [n, c, h, w] in [-1, 1] differ: RMS around their mean picture, at 16 px or less."""
    small = torch.nn.functional.adaptive_avg_pool2d(pictures.float().clamp(-1, 1), min(16, pictures.shape[-1]))
    return float((small - small.mean(dim=0)).square().mean().sqrt())
