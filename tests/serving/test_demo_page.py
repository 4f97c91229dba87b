"""The demo: its legend, and the page itself in a browser, where both are installed."""

import json
import re
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
from PIL import Image

from tests.data.exif_files import turned_jpeg
from tfseg import serving
from tfseg.config import DemoConfig
from tfseg.data.labels import LabelSpec
from tfseg.errors import UserError
from tfseg.report import visualization
from tfseg.serving import demo_page

LABELS = LabelSpec(("sky", "a<b", "car"), palette=((1, 2, 3), (4, 5, 6), (7, 8, 9)))
SECONDS = 60


def test_the_legend_has_colour_name_and_share_of_the_classes_that_occur():
    legend = demo_page.render_legend(np.array([[1, 1, 1, 0]]), LABELS)
    assert re.findall(r"rgb\((.*?)\)", legend) == ["4,5,6", "1,2,3"]
    assert re.findall(r">([^<>]+)<", legend) == ["a&lt;b", "75.0%", "sky", "25.0%"]


def test_without_gradio_a_line_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(UserError, match=r'the demo needs Gradio.*pip install "\.\[demo\]"'):
        serving.run_demo(DemoConfig(model="unused"))


@pytest.fixture(scope="module")
def url(tiny_model_dir):
    """Address of a demo that runs as its command does."""
    pytest.importorskip("gradio", reason='Gradio is not installed (pip install ".[demo]")')
    command = [sys.executable, "-m", "tfseg.demo", f"--model={tiny_model_dir}"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command.append(f"--server_port={port}")
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    yield re.search(r"http://\S+", process.stdout.readline()).group()
    second = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    process.terminate()
    process.wait(SECONDS)
    assert second.returncode == 1, "the port was in use"
    assert second.stderr.splitlines()[-1].startswith("error: cannot serve the page at 127.0.0.1")


def wait_for(read):
    """Returns the first result of `read` that is not empty."""
    end = time.monotonic() + SECONDS
    while not (found := read()):
        assert time.monotonic() < end, "the page did not change"
        time.sleep(0.1)
    return found


def fetch(address):
    return urllib.request.urlopen(address).read()


def overlay_of(browser):
    """Returns the address of the overlay, the last picture on the page, or None."""
    pictures = browser.find_elements("css selector", "img[src*='/file=']")
    return pictures[-1].get_attribute("src") if len(pictures) == 2 else None


def requested_hosts(browser):
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [each for each in messages if each["method"] == "Network.requestWillBeSent"]
    urls = [each["params"]["request"]["url"] for each in sent]
    return {re.match(r"\w+://([^/:]*)", url).group(1) for url in urls if url.startswith("http")}


@pytest.mark.slow
def test_an_upload_gets_overlay_legend_and_mask(url, browser, tiny_model, make_image, tmp_path):
    upright = make_image(96, 64)
    path = tmp_path / "phone.jpg"
    path.write_bytes(turned_jpeg(upright, 6))
    expected = serving.segment(path, tiny_model)
    browser.get(url)
    wait_for(lambda: "Upload a JPEG or PNG" in browser.find_element("tag name", "body").text)
    browser.find_element("css selector", "input[type=file]").send_keys(str(path))
    table = browser.find_element("tag name", "table").text
    assert sorted(re.findall(r"[a-z]+", table)) == sorted(found["label"] for found in expected)
    shares = [float(share) for share in re.findall(r"([\d.]+)%", table)]
    assert sum(shares) == pytest.approx(100, abs=0.5)
    first = wait_for(lambda: overlay_of(browser))
    (tmp_path / "overlay.png").write_bytes(fetch(first))
    assert Image.open(tmp_path / "overlay.png").size == expected[0]["mask"].size

    (button,) = [
        each for each in browser.find_elements("tag name", "button") if "Download" in each.text
    ]
    wait_for(button.is_enabled)
    button.click()
    (mask,) = wait_for(lambda: list(tmp_path.glob("*_classes.png")))
    class_map = np.asarray(Image.open(mask))
    for found in expected:
        class_id = tiny_model.labels.names.index(found["label"])
        np.testing.assert_array_equal(np.asarray(found["mask"]) == 255, class_map == class_id)

    number = browser.find_element("css selector", "input[type=number]")
    number.clear()
    number.send_keys("1\n")
    second = wait_for(lambda: overlay_of(browser) != first and overlay_of(browser))
    (tmp_path / "overlay.png").write_bytes(fetch(second))
    colors = visualization.colorize(class_map, tiny_model.labels.palette)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "overlay.png")), colors)
    browser.save_screenshot(str(tmp_path / "page.png"))
    assert requested_hosts(browser) == {"127.0.0.1"}


@pytest.mark.slow
def test_only_this_machine_reaches_the_page(url):
    port = int(url.rstrip("/").rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)):
        pass
    # Another address of this machine, which a page served at 0.0.0.0 would answer at too.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port))


@pytest.mark.slow
def test_a_damaged_upload_is_told_on_the_page(url, browser, make_image, tmp_path):
    path = tmp_path / "cut.jpg"
    Image.fromarray(make_image(64, 96)).save(path)
    path.write_bytes(path.read_bytes()[:-300])
    browser.get(url)
    browser.find_element("css selector", "input[type=file]").send_keys(str(path))
    wait_for(lambda: "or it is damaged" in browser.find_element("tag name", "body").text)
