"""Every hyper-parameter of a run, once: its default, its range and the sentence an artist reads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from studio.errors import BadInput
from studio.families.base import TRAINED
from studio.options import Checked, from_json, option, to_json
from studio.weights.card import MOST_CODES

_NOT_NUMERIC = frozenset(
    {
        "title",
        "created",
        "minutes",
        "kimg",
        "publish_to",
        "base_model",
        "threads",
        "processes",
        "checkpoint_seconds",
        "preview_seconds",
        "snapshot_count",
        "preview_rows",
        "preview_columns",
    }
)
"""Fields that may change between two sittings of a run without changing a number that it computes, but where it ends and
when it calms down."""

OBJECTIVES = (
    "nonsaturating", "minimax", "least_squares", "hinge", "wasserstein",
    "kl", "reverse_kl", "pearson", "squared_hellinger", "jensen_shannon",
    "relativistic", "relativistic_average", "relativistic_hinge",
)  # fmt: skip
"""The names of `ops.objectives.OBJECTIVES`, which says what each is; repeated here as the page must not wait for torch."""

LOGISTIC = ("nonsaturating", "minimax")
"""Those whose critic answers with a probability, which one-sided label smoothing needs."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Checked):
    """What one run does. It becomes `config.json` in the run's folder and comes back equal.

    Attributes without a sentence of their own: `settings` are the family's (`families.settings_from` reads them),
    `dataset_fingerprint` tells whether the pictures are still the same, `publish_to` is the folder of the finished
    model, `created` the date in UTC. Folders are written as text.
    """

    title: str = option("Untitled", heading="The run", help="The name of the run, and of the model that it makes.")
    family: str = option(
        "stylegan2",
        help="The architecture that is trained.",
        choices=TRAINED,
    )
    settings: dict[str, Any] = field(default_factory=dict)
    dataset: str = option("", help="The folder of prepared pictures that the model learns from.")
    base_model: str = option("", help="The folder of the model to start from; empty starts from nothing.")
    dataset_fingerprint: str = ""
    publish_to: str = ""
    created: str = ""

    minutes: float = option(30.0, help="How long the training may take.", low=0.01, high=100_000, unit="minutes")
    kimg: float = option(
        0.0,
        heading="Length",
        label="Pictures at most",
        help="Stop after so many thousand pictures; 0 goes on until the time is used.",
        low=0,
        high=1_000_000,
        unit="thousand pictures",
        advanced=True,
    )
    seed: int = option(0, help="Another number gives another training.", low=0, high=2**31 - 1, advanced=True)
    batch: int = option(
        16,
        help="Pictures compared at once. More is steadier and slower.",
        low=1,
        high=1024,
        unit="pictures",
        advanced=True,
    )

    objective: str = option(
        "nonsaturating",
        heading="Learning",
        help="The rule of the game between forger and critic.",
        advanced=True,
        choices=OBJECTIVES,
    )
    optimizer: str = option(
        "adam", help="How the weights follow their slopes.", choices=("adam", "rmsprop", "sgd"), advanced=True
    )
    g_learning_rate: float = option(
        0.0025,
        help="How fast the forger learns. Halve it if pictures flicker.",
        low=0,
        high=1,
        label="Learning rate of the forger (generator)",
        advanced=True,
    )
    d_learning_rate: float = option(
        0.0025,
        help="How fast the critic learns. Halve it if the critic wins.",
        low=0,
        high=1,
        label="Learning rate of the critic (discriminator)",
        advanced=True,
    )
    class_pace: float = option(
        1.0,
        help="How fast a generator's class layers learn beside its other layers. Where they are quick, all pictures of a "
        "class change together and stay alike.",
        low=0.001,
        high=1.0,
        label="Pace of the classes",
        advanced=True,
    )
    settle_kimg: float = option(
        0.0,
        help="After so many thousand pictures both players learn at half their rates, after three times as many at a "
        "quarter, and no slower: they find their way quickly and then keep it. 0 never.",
        low=0,
        high=1_000_000,
        label="Settling",
        unit="thousand pictures",
        advanced=True,
    )
    calm_share: float = option(
        0.0,
        help="In this last part of the run both players learn at a quarter of their rates, which steadies the pictures; "
        "0 never.",
        low=0,
        high=1,
        label="Calm at the end",
        unit="of the run",
        advanced=True,
    )
    beta1: float = option(
        0.0, help="How much of the last steps' direction is kept (Adam, SGD).", low=0, high=0.999, advanced=True
    )
    beta2: float = option(
        0.99, help="How long the size of slopes is remembered (Adam, RMSprop).", low=0, high=0.99999, advanced=True
    )
    share_pictures: bool = option(
        False,
        help="The critic judges the very pictures that the forger has just learned from: a little quicker.",
        advanced=True,
    )
    d_steps: int = option(1, help="The critic's steps for each step of the forger.", low=1, high=10, advanced=True)

    r1_gamma: float = option(
        1.0,
        heading="Holding the critic back",
        help="How strongly the critic is kept smooth on your pictures. More is steadier, less is crisper.",
        low=0,
        high=1000,
        label="R1 gamma",
        advanced=True,
    )
    r2_gamma: float = option(
        0.0, help="The same on the forger's pictures (R3GAN).", low=0, high=1000, label="R2 gamma", advanced=True
    )
    r1_interval: int = option(
        16,
        help="The smoothing happens every so many steps.",
        low=1,
        high=64,
        label="R1 interval",
        unit="steps",
        advanced=True,
    )
    gradient_penalty: float = option(
        0.0,
        help="Keeps the critic's slope near 1 (for the wasserstein objective, 10).",
        low=0,
        high=1000,
        advanced=True,
    )
    weight_clip: float = option(
        0.0, help="Clips the critic's weights, as in the first Wasserstein GAN; 0 never.", low=0, high=10, advanced=True
    )
    feature_matching: float = option(
        0.0,
        help="The forger also matches what the critic sees in your pictures on average: steadier, a little softer.",
        low=0,
        high=1000,
        advanced=True,
    )
    label_smoothing: float = option(
        0.0,
        help="Keeps the critic from being too sure of your pictures; 0.1 is usual, 0 is off.",
        low=0,
        high=0.5,
        advanced=True,
    )
    lecam: float = option(
        0.0,
        help="Holds the critic's opinions near their average (LeCam), against learning by heart; 0.3 is usual, 0 is off.",
        low=0,
        high=100,
        label="LeCam",
        advanced=True,
    )
    instance_noise: float = option(
        0.0,
        heading="At the start",
        help="Noise over all pictures at the start, so that the forger finds its way; 0.1 is much, 0 is off.",
        low=0,
        high=2,
        advanced=True,
    )
    instance_noise_kimg: float = option(
        10.0,
        help="So many thousand pictures after the start, that noise has faded.",
        low=0.01,
        high=100_000,
        label="Instance noise fades",
        unit="thousand pictures",
        advanced=True,
    )
    blur_px: float = option(
        0.0,
        help="Both players begin with blurred pictures, so that shapes come before edges; 0 is off.",
        low=0,
        high=64,
        label="Blur",
        unit="pixels",
        advanced=True,
    )
    blur_kimg: float = option(
        10.0,
        help="So many thousand pictures after the start, that blur has faded.",
        low=0.01,
        high=100_000,
        label="Blur fades",
        unit="thousand pictures",
        advanced=True,
    )
    critic_warmup_kimg: float = option(
        0.0,
        help="For so many thousand pictures only the critic learns. A new critic needs it, or it would spoil a good forger.",
        low=0,
        high=10_000,
        label="Critic's head start",
        unit="thousand pictures",
        advanced=True,
    )
    info_weight: float = option(
        0.0,
        heading="What the forger must do besides",
        help="The forger shows a few coordinates of its latent so clearly that they can be read off the picture (InfoGAN); "
        "they become sliders of the model. 1 is usual, 0 is off.",
        low=0,
        high=100,
        label="InfoGAN",
        advanced=True,
    )
    info_codes: int = option(
        4, help="So many coordinates, and sliders.", low=1, high=MOST_CODES, label="InfoGAN's codes", advanced=True
    )
    rebuild_weight: float = option(
        1.0,
        help="How much it counts that a critic which can redraw your pictures (FastGAN's) does so well.",
        low=0,
        high=100,
        advanced=True,
    )
    path_length_weight: float = option(
        2.0,
        help="Makes equal steps in latent space equal changes in the picture; 0 saves time.",
        low=0,
        high=100,
        advanced=True,
    )
    path_length_interval: int = option(
        4, help="That happens every so many steps.", low=1, high=64, unit="steps", advanced=True
    )
    style_mixing: float = option(
        0.9, help="How often a picture takes its styles from two latents.", low=0, high=1, advanced=True
    )

    augment: str = option(
        "ada",
        heading="Few pictures",
        help="Varies the pictures that the critic sees, so that few pictures are enough.",
        advanced=True,
        choices=("ada", "diffaugment", "none"),
    )
    augment_start_p: float = option(
        0.0, help="How strong the varying is at the start (ADA).", low=0, high=1, advanced=True
    )
    ada_target: float = option(
        0.6,
        help="ADA varies more when the critic knows your pictures better than this.",
        low=0,
        high=1,
        label="ADA target",
        advanced=True,
    )
    ada_interval: int = option(
        4, help="ADA looks every so many steps.", low=1, high=64, label="ADA interval", unit="steps", advanced=True
    )
    ada_speed_kimg: float = option(
        500.0,
        help="So many thousand pictures take ADA from nothing to full strength.",
        low=0.01,
        high=100_000,
        label="ADA speed",
        unit="thousand pictures",
        advanced=True,
    )
    closer: bool = option(
        False,
        help="Every second picture is shown as a quarter of itself, twice as large, so that the critic sees its surfaces.",
        label="Look closer",
        advanced=True,
    )
    mirror: bool = option(False, help="Also learn from each picture's mirror image.")
    freeze_d_layers: int = option(
        0,
        help="So many first layers of the critic stay as they are in the base model (Freeze-D).",
        low=0,
        high=64,
        label="Frozen layers of the critic",
        advanced=True,
    )

    ema_kimg: float = option(
        10.0,
        heading="Averaging",
        help="The model you see averages the weights over about so many thousand pictures.",
        low=0,
        high=10_000,
        label="Averaging",
        unit="thousand pictures",
        advanced=True,
    )
    ema_rampup: float = option(
        0.05,
        help="At the start the average is only this part of the training so far; 0 turns that off.",
        low=0,
        high=1,
        label="Averaging at the start",
        advanced=True,
    )

    device: str = option(
        "auto",
        heading="This machine",
        help="Where the training runs.",
        choices=("auto", "cpu", "cuda", "mps"),
        advanced=True,
    )
    ghost_batches: int = option(
        1,
        help="Parts of a batch that are normalised by themselves; as many processes need to tell each other less.",
        low=1,
        high=64,
        advanced=True,
    )
    precision: str = option(
        "auto",
        help="bfloat16 is about twice as fast where the machine has it.",
        choices=("auto", "bfloat16", "float32"),
        advanced=True,
    )
    threads: int = option(0, help="Processor threads to use; 0 chooses.", low=0, high=512, advanced=True)
    processes: int = option(
        1,
        help="Processes of this machine that share each batch; on a processor two with one core each beat one with two.",
        low=1,
        high=64,
        advanced=True,
    )
    checkpoint_seconds: float = option(
        120.0,
        heading="What is kept and shown",
        help="At most this much work is repeated after a crash.",
        low=0.05,
        high=36_000,
        unit="seconds",
        advanced=True,
    )
    preview_seconds: float = option(
        5.0,
        help="A new sheet of pictures appears about so often.",
        low=0.05,
        high=36_000,
        unit="seconds",
        advanced=True,
    )
    snapshot_count: int = option(
        24, help="So many playable stages of the model are kept.", low=1, high=500, advanced=True
    )
    preview_rows: int = option(4, help="Rows of the sheet of pictures.", low=1, high=16, advanced=True)
    preview_columns: int = option(6, help="Columns of the sheet of pictures.", low=1, high=16, advanced=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        spectral = bool(self.settings.get("spectral_norm"))
        if self.objective == "wasserstein" and not (self.gradient_penalty or self.weight_clip or spectral):
            raise BadInput(
                "The wasserstein objective needs a bound on the critic.",
                "Set the gradient penalty to 10, or the weight clip to 0.01.",
                field="objective",
            )
        if self.gradient_penalty and self.family == "dcgan" and not spectral:
            raise BadInput(
                "The gradient penalty looks at each picture alone, and a DCGAN's critic looks at a batch together.",
                "Turn its spectral norm on, or set the gradient penalty to 0.",
                field="gradient_penalty",
            )
        if self.weight_clip and spectral:
            raise BadInput(
                "Spectral norm and the weight clip bound the same weights.",
                "Set the weight clip to 0.",
                field="weight_clip",
            )
        if self.label_smoothing and self.objective not in LOGISTIC:
            raise BadInput(
                f"Label smoothing softens a probability, and the critic of {self.objective!r} answers with none.",
                "Set it to 0, or choose the nonsaturating objective.",
                field="label_smoothing",
            )

    @property
    def smooths_lazily(self) -> bool:
        """Whether R1 or R2 has steps of its own; an interval of 1 adds it to each step of the critic instead."""
        return self.r1_gamma + self.r2_gamma > 0 and self.r1_interval > 1

    @property
    def codes(self) -> int:
        """How many first coordinates of z the pictures must show; 0 where InfoGAN is off."""
        return self.info_codes if self.info_weight else 0

    @property
    def total_seconds(self) -> float:
        """The time that the run may take."""
        return self.minutes * 60

    def numeric_hash(self) -> str:
        """A hash of all that the numbers of the run depend on; another hash means other settings."""
        data = {name: value for name, value in to_json(self).items() if name not in _NOT_NUMERIC}
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def changed(config: TrainConfig, changes: Mapping[str, Any]) -> TrainConfig:
    """The settings with some of them changed, of the network's too. Raises BadInput for one that no run has."""
    settings = {**config.settings, **changes.get("settings", {})}
    return from_json(TrainConfig, {**to_json(config), **changes, "settings": settings})
