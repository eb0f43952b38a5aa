"""An order becomes a configuration: the plan, with the artist's changes."""

from __future__ import annotations

import pytest

from studio.errors import BadInput
from studio.training.config import TrainConfig, changed

PLANNED = TrainConfig(settings={"resolution": 32, "channel_base": 4096}, r1_gamma=1.0)


def test_changes_replace_what_they_name_and_nothing_else() -> None:
    config = changed(PLANNED, {"r1_gamma": 0.5, "settings": {"channel_base": 2048}})
    assert config.r1_gamma == 0.5 and config.settings == {"resolution": 32, "channel_base": 2048}
    assert changed(PLANNED, {}) == PLANNED


@pytest.mark.parametrize("changes", [{"r1_gama": 1.0}, {"r1_gamma": "much"}, {"r1_gamma": -1.0}])
def test_wrong_changes_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        changed(PLANNED, changes)
