from tfseg.config import train_data_section
from tfseg.config.train_data_section import TrainDataConfig


def test_a_factor_is_a_range_or_a_number():
    assert train_data_section.factor_range((0.5, 2.0)) == (0.5, 2.0)
    assert train_data_section.factor_range((0.25,)) == (0.75, 1.25)
    # Configurations of earlier versions hold a number.
    assert TrainDataConfig(contrast=0.2) == TrainDataConfig()
