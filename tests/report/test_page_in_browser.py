"""The report in a browser: wide, as on a phone, and in the dark."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.report.test_page import content
from tfseg.data.labels import LabelSpec
from tfseg.report.gallery import Prediction
from tfseg.report.page import write_report

NAMES = tuple(f"class number {index}" for index in range(30))
LABELS = LabelSpec(NAMES)
PICTURES = ["curves", "classes", "predictions", "confusion_matrix"]


@pytest.fixture(scope="module")
def address(tmp_path_factory, make_image):
    """Address of a report of 30 classes whose texts are long."""
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 30, (90, 120))
    confusion = rng.integers(1, 1000, (30, 30))
    metrics = {"mean_iou": 0.5, "mean_iou_low": 0.4, "mean_iou_high": 0.6}
    metrics |= {f"iou_{name}": 0.5 for name in NAMES}
    report = content(
        labels=LABELS,
        title="folder:/a/long/path/" + "x" * 60,
        confusion=confusion,
        metrics=metrics,
        predictions=[Prediction(make_image(90, 120), mask, mask, "best")] * 2,
        iou_intervals=np.tile([[0.4], [0.6]], 30),
        facts={"Data": {"digest": "0123456789abcdef" * 4}},
    )
    return write_report(tmp_path_factory.mktemp("report"), report).as_uri()


def open_page(browser, address, *, width, height=900, scheme="light"):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get(address)


def screenshot(browser):
    return np.asarray(Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("L"))


@pytest.mark.slow
def test_everything_is_on_the_page_and_nothing_is_fetched(browser, address):
    open_page(browser, address, width=1300)
    headings = [each.text for each in browser.find_elements("css selector", "h2")]
    assert headings == [
        "Final metrics", "Classes", "Training curves", "IoU of each class", "Predictions",
        "Confusion matrix", "Data",
    ]  # fmt: skip
    rows = browser.find_elements("css selector", "#classes tbody tr")
    assert [row.text.split(" 0.5000")[0] for row in rows][::29] == [
        "class number 0 0",
        "class number 29 29",
    ]
    for name in PICTURES:
        picture = browser.find_element("id", f"picture_{name}")
        assert int(picture.get_attribute("naturalWidth")) > 300, name
    fetched = browser.execute_script("return performance.getEntriesByType('resource').length")
    assert fetched == 0


@pytest.mark.slow
@pytest.mark.parametrize("width", [380, 1300])
def test_nothing_is_wider_than_the_window(browser, address, width):
    open_page(browser, address, width=width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    name = browser.find_element("css selector", "#classes tbody th")
    assert name.rect["width"] > 100  # A name is not broken into letters.
    for name in PICTURES:
        box = browser.find_element("id", f"picture_{name}").rect
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width


@pytest.mark.slow
def test_the_dark_page_is_dark_and_its_text_is_bright(browser, address):
    open_page(browser, address, width=1300)
    bright = screenshot(browser)
    open_page(browser, address, width=1300, scheme="dark")
    dark = screenshot(browser)
    assert np.median(bright) > 240
    assert np.median(dark) < 40
    assert dark.max() > 200
