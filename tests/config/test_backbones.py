"""One list of backbones serves the flag and the model (tests/models count their weights)."""

import pytest

from tfseg.config import ModelConfig
from tfseg.config.backbones import BACKBONES
from tfseg.errors import UserError


@pytest.mark.parametrize("name", BACKBONES)
def test_the_flag_takes_every_backbone(name):
    assert ModelConfig(backbone=name).backbone == name


def test_the_flag_names_the_backbones_where_it_refuses_another():
    with pytest.raises(UserError) as error:
        ModelConfig(backbone="mit-b6")
    for name in BACKBONES:
        assert name in str(error.value)


def test_the_paper_gives_four_stages_and_growing_depths():
    depths = [sum(size.depths) for size in BACKBONES.values()]
    assert depths == sorted(depths)
    assert {len(part) for size in BACKBONES.values() for part in size[:2]} == {4}
