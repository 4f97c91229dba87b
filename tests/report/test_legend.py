"""The legend names every class in its colour and leaves the picture alone."""

import numpy as np
import pytest

from tests.report.examples import make_example
from tfseg.data.palettes import choose_palette
from tfseg.report.legend import add_legend


def holds(picture, color):
    return (picture == np.array(color, np.uint8)).all(-1).any()


@pytest.mark.parametrize("size", [(1, 1), (40, 300), (300, 40), (480, 640)])
def test_the_picture_stays_and_every_colour_is_below_it(size):
    image, palette = make_example(*size)[0], choose_palette([str(index) for index in range(20)])
    entries = [(f"class {index}", color) for index, color in enumerate(palette)]
    picture = add_legend(image, entries)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[: size[0], : size[1]], image)
    assert (picture[: size[0], size[1] :] == 255).all()
    legend = picture[size[0] :]
    assert all(holds(legend, color) for color in palette)


def test_entries_share_a_row_where_there_is_room():
    entries = [("cat", (250, 0, 0)), ("dog", (0, 250, 0)), ("sky", (0, 0, 250))]
    heights = [len(add_legend(make_example(90, width)[0], entries)) for width in (60, 400)]
    assert heights[0] > heights[1] > 90


def test_each_name_is_written_beside_its_colour():
    names = ["cat", "дорога", "A&B", "two\nlines", "x" * 500]
    red, drawn = (250, 0, 0), set()
    for name in names:
        legend = add_legend(np.zeros((1, 1, 3), np.uint8), [(name, red)])[1:]
        assert holds(legend, (0, 0, 0)), name
        assert legend.shape[1] < 500
        drawn.add(legend.tobytes())
    assert len(drawn) == len(names)


def test_letters_grow_with_the_picture():
    entries = [("cat", (250, 0, 0))]
    added = [len(add_legend(make_example(n, n)[0], entries)) - n for n in (100, 900)]
    assert added[1] > 2 * added[0] - 12
