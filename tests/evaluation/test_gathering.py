"""Images are taken as they are scored: a bar on a terminal only, and a file for each mask."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from tfseg.errors import UserError
from tfseg.evaluation.evaluator import ScoredImages
from tfseg.evaluation.gathering import Gathering

NAMES = ["town/a", "b", "c"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def steps(dtype=np.uint8):
    counts = np.arange(3 * 3 * 2).reshape(3, 3, 2)
    maps = [np.full((2, 3 + index), index, dtype) for index in range(3)]
    return [ScoredImages(counts[:2], maps[:2]), ScoredImages(counts[2:], maps[2:])]


def test_a_terminal_shows_how_far_it_is_and_how_long_it_takes(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Gathering(NAMES, None) as gathering:
        for step in steps():
            gathering.add(step)
    last = sys.stderr.getvalue().rstrip().rpartition("\r")[2]
    assert last.startswith("scoring: 100%")
    assert "3/3 [" in last
    assert "<" in last.partition("[")[2], "the time that is left"
    np.testing.assert_array_equal(gathering.counts(), np.arange(18).reshape(3, 3, 2))


def test_a_log_file_gets_no_bar(capsys):
    with Gathering(NAMES, None) as gathering:
        gathering.add(steps()[0])
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_masks_are_written_under_the_names_of_their_images(tmp_path, dtype):
    with Gathering(NAMES, str(tmp_path / "new" / "masks")) as gathering:
        for step in steps(dtype):
            gathering.add(step)
    for index, name in enumerate(NAMES):
        mask = np.array(Image.open(tmp_path / "new" / "masks" / f"{name}.png"))
        assert mask.shape == (2, 3 + index)
        assert (mask == index).all()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--save_predictions=.*file/masks cannot be created"):
        Gathering(NAMES, str(tmp_path / "file" / "masks"))
