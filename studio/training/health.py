"""What can go wrong with a run, seen from its figures, told in plain words with the one thing to change.

A detector is a small class that looks at one reading after the other. DETECTORS lists them; a new one is a class and a
row. Thresholds were chosen from the figures that `python -m benchmarks.health --curves` prints for healthy runs and for
runs with planted failures.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import ClassVar

import torch
from torch import Tensor

FIRST_KIMG = 0.25
"""Before so many thousand pictures nothing but broken numbers, divergence and long steps is judged: networks find their
feet."""


class Verdict(IntEnum):
    """How bad it is. What is grave cannot get better by itself: the run goes back."""

    FINE = 0
    ILL = 1
    GRAVE = 2


@dataclass(frozen=True, kw_only=True)
class Vitals:
    """One reading of a run, once or twice a second.

    Attributes:
        kimg, seconds: thousands of pictures shown, and time trained.
        epochs: how often each picture of the dataset was shown.
        sign: r_t, the mean sign of the critic on real pictures, -1 to 1.
        augment_p: strength of ADA, 0 to 1. adaptive: whether ADA is used.
        sighted: whether the critic sees with a network that was trained before.
        figures: means since the last reading: loss_g, loss_d, real_logit, fake_logit, g_norm, d_norm (of gradients),
            g_moved, d_moved (the length of a step as a share of the weights').
        diversity: of a sheet drawn since the last reading, else None. highest_diversity: that of the best sheet so far.
        copied, coverage: of a snapshot judged since the last reading, else None: the share of copies among its pictures, and
            the share of the dataset that has one of them near by.
        broken: the sentence about a number that is none, else empty.
    """

    kimg: float = 0.0
    seconds: float = 0.0
    epochs: float = 0.0
    sign: float = 0.0
    augment_p: float = 0.0
    adaptive: bool = False
    sighted: bool = False
    figures: Mapping[str, float] = field(default_factory=dict)
    diversity: float | None = None
    highest_diversity: float = 0.0
    copied: float | None = None
    coverage: float | None = None
    broken: str = ""

    @property
    def gap(self) -> float:
        """How much higher the critic rates real pictures than made ones, in logits."""
        return self.figures.get("real_logit", 0.0) - self.figures.get("fake_logit", 0.0)


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """One finding. `remedies` are keys of `remedy.REMEDIES`; the first that can be done is offered."""

    topic: str
    message: str
    hint: str
    remedies: tuple[str, ...] = ()
    grave: bool = False


class Lasting:
    """Tells whether something has been true without a pause for so many thousand pictures and so many readings."""

    def __init__(self, kimg: float, readings: int = 3) -> None:
        self._kimg, self._readings = kimg, readings
        self._since: float | None = None
        self._count = 0

    def __call__(self, true: bool, kimg: float) -> bool:
        if not true:
            self._since, self._count = None, 0
            return False
        self._since = kimg if self._since is None else self._since
        self._count += 1
        return self._count >= self._readings and kimg - self._since >= self._kimg


class Detector(ABC):
    """Looks at one reading after the other and remembers what it needs. `judge` is pure but for that memory."""

    topic: ClassVar[str]
    message: ClassVar[str]
    hint: ClassVar[str]
    remedies: ClassVar[tuple[str, ...]]

    @abstractmethod
    def judge(self, vitals: Vitals) -> Verdict:
        """The verdict on the run as of this reading."""

    def alarm(self, vitals: Vitals, verdict: Verdict) -> Alarm:
        """What is told about it."""
        return Alarm(
            topic=self.topic, message=self.message, hint=self.hint, remedies=self.remedies,
            grave=verdict is Verdict.GRAVE,
        )  # fmt: skip


class NotNumbers(Detector):
    """A loss, a slope, a weight, an average or an optimizer's memory is NaN or infinite."""

    topic = "numbers"
    message = "The numbers of the training broke."
    hint = "The run goes back to where it was healthy and learns more slowly."
    remedies = ("slower",)

    def judge(self, vitals: Vitals) -> Verdict:
        return Verdict.GRAVE if vitals.broken else Verdict.FINE

    def alarm(self, vitals: Vitals, verdict: Verdict) -> Alarm:
        return Alarm(topic=self.topic, message=vitals.broken, hint=self.hint, remedies=self.remedies, grave=True)


class Divergence(Detector):
    """Logits or losses leave the range in which the objectives have slopes at all."""

    LARGEST = 300.0  # healthy logits stay within ±60, with gradient penalty within ±150
    RUNAWAY = 1e4  # and what is beyond this does not come back
    READINGS = 2

    topic = "divergence"
    message = "Forger and critic drive each other to ever larger numbers: the training is diverging."
    hint = "Lower the learning rates."
    remedies = ("slower",)

    def __init__(self) -> None:
        self._large, self._runaway = Lasting(0.0, self.READINGS), Lasting(0.0, self.READINGS)

    def judge(self, vitals: Vitals) -> Verdict:
        names = ("real_logit", "fake_logit", "loss_g", "loss_d")
        largest = max((abs(vitals.figures.get(name, 0.0)) for name in names), default=0.0)
        large = self._large(largest > self.LARGEST, vitals.kimg)
        runaway = self._runaway(largest > self.RUNAWAY, vitals.kimg)
        return Verdict.GRAVE if runaway else Verdict(large)


class Overwriting(Detector):
    """Steps are so long beside the weights that each throws away what was learned before."""

    SHARE = 0.1  # the healthy runs of benchmarks.health stay below 0.04, rates a thousand times as high above 0.15
    READINGS = 3

    topic = "strides"
    message = "Each step throws away much of what was learned: the learning rates are far too high."
    hint = "Lower the learning rates."
    remedies = ("slower",)

    def __init__(self) -> None:
        self._long = Lasting(0.0, self.READINGS)

    def judge(self, vitals: Vitals) -> Verdict:
        moved = max(vitals.figures.get("g_moved", 0.0), vitals.figures.get("d_moved", 0.0))
        return Verdict(self._long(moved > self.SHARE, vitals.kimg))


class Collapse(Detector):
    """The sheet's fixed latents give pictures that differ far less than they once did."""

    SHARE = 0.2
    HARD_SHARE = 0.04
    INVISIBLE = 0.004  # half a level of 8-bit colour
    SHEETS = 2
    HARD_SHEETS = 4
    FIRST_KIMG = 2.0  # the first pictures of a run from nothing differ by chance, and then all turn grey for a while

    topic = "collapse"
    message = "The pictures are becoming all alike: the forger has found one picture that fools the critic."
    hint = "Go back to where the pictures still differed, and go on more slowly."
    remedies = ("back",)

    def __init__(self) -> None:
        self._alike, self._same = Lasting(0.0, self.SHEETS), Lasting(0.0, self.HARD_SHEETS)
        self._verdict = Verdict.FINE

    def judge(self, vitals: Vitals) -> Verdict:
        if vitals.diversity is None or vitals.kimg < self.FIRST_KIMG or vitals.highest_diversity <= 0:
            return self._verdict
        share = vitals.diversity / vitals.highest_diversity
        alike = self._alike(share < self.SHARE, vitals.kimg)
        same = self._same(share < self.HARD_SHARE or vitals.diversity < self.INVISIBLE, vitals.kimg)
        self._verdict = Verdict.GRAVE if same else Verdict(alike)
        return self._verdict


class Overfitting(Detector):
    """The critic is sure of nearly every real picture, and varying them no longer helps (or is not done)."""

    SIGN = 0.9  # over many pictures; where varying works it stays near 0.6
    AUGMENT_HIGH = 0.8
    KIMG = 20.0  # at the start the critic wins in healthy runs, too
    OFTEN_EPOCHS = 100.0  # with pictures that were shown so often there is no doubt much sooner
    OFTEN_SIGN = 0.8
    SIGHTED_SIGN = (
        0.97  # such a critic is at 0.8 to 0.95 in runs that get better and better, and at 1 with five pictures
    )
    OFTEN_KIMG = 0.5
    SMOOTHING_KIMG = 0.5  # r_t is the mean of some dozen pictures only

    topic = "critic"
    message = "The critic knows your pictures by heart, so the forger learns little from it."
    hint = "Vary the pictures more, or add some."
    remedies = ("vary", "smoother", "slower critic")

    def __init__(self) -> None:
        self._wins, self._often = Lasting(self.KIMG), Lasting(self.OFTEN_KIMG)
        self._sum, self._weight, self._kimg = 0.0, 0.0, 0.0

    def judge(self, vitals: Vitals) -> Verdict:
        kept = 0.5 ** (max(0.0, vitals.kimg - self._kimg) / self.SMOOTHING_KIMG)
        self._sum, self._weight = kept * self._sum + (1 - kept) * vitals.sign, kept * self._weight + (1 - kept)
        self._kimg, sign = vitals.kimg, self._sum / max(self._weight, 1e-6)
        helpless = vitals.augment_p > self.AUGMENT_HIGH or not vitals.adaptive
        sure, often_sure = (self.SIGHTED_SIGN,) * 2 if vitals.sighted else (self.SIGN, self.OFTEN_SIGN)
        often = helpless and sign > often_sure and vitals.epochs > self.OFTEN_EPOCHS
        wins = self._wins(helpless and sign > sure, vitals.kimg)
        return Verdict(self._often(often, vitals.kimg) or wins)


class Fooled(Detector):
    """The critic rates made pictures higher than real ones and does not learn from it."""

    GAP = -0.5  # critics that learn keep it above 0 but for moments; a frozen one loses 2 to 20
    KIMG = 0.25

    topic = "fooled"
    message = "The critic takes the forger's pictures for the better ones, so it teaches nothing."
    hint = "Let the critic learn faster."
    remedies = ("quicker critic",)

    def __init__(self) -> None:
        self._fooled = Lasting(self.KIMG, readings=5)

    def judge(self, vitals: Vitals) -> Verdict:
        return Verdict(self._fooled(vitals.kimg > FIRST_KIMG and vitals.gap < self.GAP, vitals.kimg))


class Vanishing(Detector):
    """The forger's slope has become a tiny part of what it was: it gets no signal any more."""

    SHARE = 1e-3
    KIMG = 0.5

    topic = "signal"
    message = "The forger gets no signal any more: the critic is so sure that it no longer says what to change."
    hint = "Slow the critic down."
    remedies = ("slower critic",)

    def __init__(self) -> None:
        self._highest = 0.0
        self._faint = Lasting(self.KIMG, readings=5)

    def judge(self, vitals: Vitals) -> Verdict:
        norm = vitals.figures.get("g_norm")
        if norm is None:
            return Verdict.FINE
        # The typical norm, not the largest: it follows slowly and only while the signal lives.
        faint = norm < self.SHARE * self._highest
        if not faint:
            self._highest = norm if not self._highest else 0.9 * self._highest + 0.1 * norm
        return Verdict(self._faint(faint, vitals.kimg))


class Oscillation(Detector):
    """The gap between real and made logits swings widely and slowly, as when both sides chase each other."""

    READINGS = 32
    SWING = 1.5
    LEAST_GAP = 2.0
    FEWEST, MOST = 4, 14

    topic = "oscillation"
    message = "Forger and critic swing back and forth instead of getting better."
    hint = "Halve the learning rates."
    remedies = ("slower",)

    def __init__(self) -> None:
        self._gaps: deque[float] = deque(maxlen=self.READINGS)

    def judge(self, vitals: Vitals) -> Verdict:
        self._gaps.append(vitals.gap)
        if len(self._gaps) < self.READINGS or vitals.kimg < FIRST_KIMG:
            return Verdict.FINE
        mean = sum(self._gaps) / len(self._gaps)
        deviations = [gap - mean for gap in self._gaps]
        swing = (sum(value**2 for value in deviations) / len(deviations)) ** 0.5
        crossings = sum(before * after < 0 for before, after in itertools.pairwise(deviations))
        wide = swing > max(self.LEAST_GAP, self.SWING * abs(mean))
        return Verdict(wide and self.FEWEST <= crossings <= self.MOST)


class Narrow(Detector):
    """Stage after stage, the pictures resemble a small part of the dataset only."""

    COVERAGE = 0.15  # a collapsed run stayed between 0.07 and 0.13 for 100 kimg; a healthy one passed 0.15 at 16
    FIRST_KIMG = 20.0
    STAGES = 4

    topic = "narrow"
    message = "The pictures show only a few of the things that your set holds, and it is not getting better."
    hint = "Keep the critic smoother; a set of fewer kinds, or another model to start from, helps most."
    remedies = ("smoother", "slower critic")

    def __init__(self) -> None:
        self._few = Lasting(0.0, self.STAGES)
        self._verdict = Verdict.FINE

    def judge(self, vitals: Vitals) -> Verdict:
        if vitals.coverage is not None and vitals.kimg >= self.FIRST_KIMG:
            self._verdict = Verdict(self._few(vitals.coverage < self.COVERAGE, vitals.kimg))
        return self._verdict


class Copies(Detector):
    """Many made pictures lie nearer to a training picture than training pictures lie to each other."""

    SHARE = 0.3  # 0.05 is usual for new pictures, 1 is a copying machine
    OVER_SHARE = 0.2

    topic = "copies"
    message = "The model begins to repeat your pictures instead of inventing new ones."
    hint = "End the run here and keep the best stage; more pictures help most."
    remedies = ("finish",)

    def __init__(self) -> None:
        self._verdict = Verdict.FINE

    def judge(self, vitals: Vitals) -> Verdict:
        if vitals.copied is not None:
            limit = self.OVER_SHARE if self._verdict else self.SHARE
            self._verdict = Verdict(vitals.copied > limit)
        return self._verdict


DETECTORS: tuple[type[Detector], ...] = (
    NotNumbers,
    Divergence,
    Overwriting,
    Collapse,
    Overfitting,
    Fooled,
    Vanishing,
    Oscillation,
    Narrow,
    Copies,
)
"""Every detector, the gravest first."""


class Sentinel:
    """Watches a run. It tells an alarm once, again when it becomes grave, and anew after the trouble had gone."""

    def __init__(self, detectors: Sequence[type[Detector]] = DETECTORS) -> None:
        self._detectors = [kind() for kind in detectors]
        self._told: dict[str, Verdict] = {}

    @property
    def calm(self) -> bool:
        """Whether nothing is wrong as of the last reading."""
        return not self._told

    def examine(self, vitals: Vitals) -> list[Alarm]:
        """The new alarms of this reading."""
        alarms = []
        for detector in self._detectors:
            verdict = detector.judge(vitals)
            if verdict > self._told.get(detector.topic, Verdict.FINE):
                alarms.append(detector.alarm(vitals, verdict))
            if verdict:
                self._told[detector.topic] = max(verdict, self._told.get(detector.topic, Verdict.FINE))
            else:
                self._told.pop(detector.topic, None)
        return alarms


def diversity(pictures: Tensor) -> float:
    """How much pictures [n, c, h, w] in [-1, 1] differ: RMS around their mean picture, at 16 px or less."""
    small = torch.nn.functional.adaptive_avg_pool2d(pictures.float().clamp(-1, 1), min(16, pictures.shape[-1]))
    return float((small - small.mean(dim=0)).square().mean().sqrt())
