"""The report of a run shows the right images, and tables of what the run was."""

import re

import numpy as np
import pytest

from tfseg.training import run_report


def counts_with_iou(scores):
    """Counts of one class whose IoU is a percentage; None for an image that is all void."""
    counts = [[[0], [0], [0]] if score is None else [[score], [100], [score]] for score in scores]
    return np.array(counts, np.int64)


def test_best_median_and_worst_are_chosen():
    scores = [50, 10, 90, None, 30, 70, 20, 80, 60, 40]
    chosen = run_report.choose_examples(counts_with_iou(scores), len(scores))
    kinds = [(position, re.match(r"\((\w+), ", caption).group(1)) for position, caption in chosen]
    assert kinds == [
        (2, "best"), (7, "best"), (8, "median"), (0, "median"), (6, "worst"), (1, "worst"),
    ]  # fmt: skip
    assert chosen[0][1] == "(best, mean IoU 0.900)"


@pytest.mark.parametrize("count", [1, 2, 3])
def test_of_few_images_each_is_shown_once(count):
    chosen = run_report.choose_examples(counts_with_iou([50] * count), count)
    assert sorted(position for position, _ in chosen) == list(range(count))


def test_images_whose_scores_are_not_known_are_spread_over_the_split():
    chosen = run_report.choose_examples(None, 101)
    assert chosen == [(position, "") for position in (0, 20, 40, 60, 80, 100)]
    assert len(run_report.choose_examples(None, 2)) == 2


def test_the_page_of_a_run_tells_what_the_run_was(boxes_run):
    page = (boxes_run[0] / "report" / "index.html").read_text()
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings[-4:] == ["Data", "Speed", "Environment", "Configuration"]
    assert "12 examples" in page
    assert re.search(r"<td>\d+ images in \d+ s, [\d.]+ images/s</td>", page)
    assert re.search(r">--train_batch_size</th><td>\d+</td>", page)
    assert re.search(r">tensorflow</th><td>2\.", page)
