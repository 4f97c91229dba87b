"""The hints in error messages."""

from tfseg.errors import nearest_name


def test_nearest_name():
    assert nearest_name("oxford_pet", ["shapes", "oxford_iiit_pet"]) == (
        ", did you mean 'oxford_iiit_pet'?"
    )
    assert nearest_name("zzz", ["shapes"]) == ""
