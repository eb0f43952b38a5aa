"""Two models in one, named so that a name is all it takes: "monet~naturalist~20~90".

Where one was trained from the other, or both from a third, their weights can be mixed number by number (Pinkney & Adler
2020, "Resolution Dependent GAN Interpolation"): shapes of the one, surfaces of the other.
"""

from __future__ import annotations

from dataclasses import dataclass

from studio.families.base import settings_from
from studio.options import Checked, option
from studio.weights.card import ModelCard

MARK = "~"
_NOT_OF_THE_SHAPE = ("discriminator_", "critic_", "mbstd_", "calibrated")


@dataclass(frozen=True, kw_only=True)
class Cross(Checked):
    """How much two models have of the second."""

    first: str = option("", help="The model that is changed.")
    second: str = option("", help="The model that is mixed in.")
    shapes: int = option(0, help="So much of the shapes are the second model's.", low=0, high=100, unit="%")
    surfaces: int = option(0, help="So much of the surfaces are the second model's.", low=0, high=100, unit="%")

    @property
    def id(self) -> str:
        """The name of the crossed model."""
        return MARK.join((self.first, self.second, str(self.shapes), str(self.surfaces)))

    @classmethod
    def read(cls, model_id: str) -> Cross | None:
        """What a name says; None for that of a plain model. Raises BadInput for a share that is none."""
        first, *rest = model_id.split(MARK)
        if len(rest) != 3 or not all(share.isdecimal() for share in rest[1:]):
            return None
        return cls(first=first, second=rest[0], shapes=int(rest[1]), surfaces=int(rest[2]))


def related(one: ModelCard, other: ModelCard) -> bool:
    """Whether two models can be crossed: the same architecture, and one and the same model at their beginning."""
    lines = [{card.sha256, *(ancestor.sha256 for ancestor in card.lineage)} - {""} for card in (one, other)]
    alike = all(getattr(one, name) == getattr(other, name) for name in ("family", "channels", "classes"))
    return alike and one.sha256 != other.sha256 and _shape(one) == _shape(other) and bool(lines[0] & lines[1])


def _shape(card: ModelCard) -> dict[str, object]:
    """The settings of a card's generator, those left out too."""
    whole = vars(settings_from(card.family, card.settings))
    return {name: value for name, value in whole.items() if not name.startswith(_NOT_OF_THE_SHAPE)}
