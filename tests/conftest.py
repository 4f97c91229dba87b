"""A SegFormer of a few thousand weights, images for it, and a finished run of it."""

import http.server
import json
import os
import shutil
import threading

import numpy as np
import pytest
from PIL import Image

import tfseg  # noqa: F401  sets TF_USE_LEGACY_KERAS before TensorFlow is imported
from tests import hosts

NUM_TRAIN_BOXES, NUM_EVAL_BOXES = 12, 5
BOX_NAMES = ("floor", "box", "light")


def pytest_addoption(parser):
    parser.addoption(
        "--evaluate_module", help="path of evaluate's mean_iou.py, which then runs beside MeanIoU"
    )


def pytest_configure(config):
    """Has XLA compile without LLVM's optimisations, which take longer than tiny tensors need.

    The slow tests keep them.
    """
    if config.option.markexpr == "not slow":
        os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")


@pytest.fixture(scope="session", autouse=True)
def _cache_of_its_own(tmp_path_factory):
    """Keeps nothing that a test finds out about its data in the home of who runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny_model():
    """A seeded random SegFormer of five classes at 64x96; tests must not change it."""
    from transformers import SegformerConfig

    from tfseg.data.labels import LabelSpec
    from tfseg.data.transforms import Preprocessing
    from tfseg.models import checkpoint, segformer

    labels = LabelSpec(("sky", "road", "tree", "car", "person"))
    config = SegformerConfig(
        hidden_sizes=[8, 16, 24, 32],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16,
    )
    checkpoint.set_labels(config, labels)
    model = segformer.Segformer(config, labels, Preprocessing((64, 96)))
    _draw_weights(model.network.trainable_variables)
    return model


def _draw_weights(variables):
    """Draws kernels that keep the signal's size, so that every class is predicted somewhere."""
    rng = np.random.default_rng(7)
    for variable in variables:
        if variable.shape.rank > 1:
            fan_in = variable.shape.num_elements() / variable.shape[-1]
            kernel = rng.normal(0, fan_in**-0.5, variable.shape)
            # After a ReLU a mean other than zero would let one class win everywhere.
            num_inputs = variable.shape[-2]
            variable.assign(kernel - kernel.mean(-2, keepdims=True) * (num_inputs > 1))


@pytest.fixture(scope="session")
def tiny_model_dir(tiny_model, tmp_path_factory):
    """The folder of `tiny_model`, as training leaves it."""
    from tfseg.models import segformer

    folder = str(tmp_path_factory.mktemp("models") / "tiny")
    segformer.save_model(tiny_model, folder)
    return folder


@pytest.fixture(scope="session")
def make_image():
    """A function (height, width, seed) -> uint8 `[height, width, 3]`, smooth coloured noise."""

    def make(height: int, width: int, seed: int = 0) -> np.ndarray:
        noise = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), np.uint8)
        return np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))

    return make


@pytest.fixture(scope="session")
def boxes_dir(tmp_path_factory):
    """A data set of coloured boxes in ADE20K's layout, with a void frame and odd sizes."""
    root = tmp_path_factory.mktemp("data") / "boxes"
    rng = np.random.default_rng(0)
    for split, count in (("train", NUM_TRAIN_BOXES), ("val", NUM_EVAL_BOXES)):
        for part in ("images", "annotations"):
            (root / part / split).mkdir(parents=True)
        for index in range(count):
            image, mask = draw_boxes(rng, (50 + index, 70))
            Image.fromarray(image).save(root / "images" / split / f"{index}.jpg", quality=95)
            Image.fromarray(mask).save(root / "annotations" / split / f"{index}.png")
    (root / "id2label.json").write_text(json.dumps(dict(enumerate(BOX_NAMES))))
    return root


def draw_boxes(rng, size):
    image = rng.integers(90, 130, (*size, 3)).astype(np.uint8)
    mask = np.zeros(size, np.uint8)
    for class_id, color in ((1, (220, 40, 40)), (2, (240, 240, 120))):
        top, left = rng.integers(4, size[0] - 24), rng.integers(4, size[1] - 24)
        image[top : top + 18, left : left + 20] = color
        mask[top : top + 18, left : left + 20] = class_id
    mask[:2] = 255
    return image, mask


@pytest.fixture(scope="session")
def plain_model_dir(tiny_model, tmp_path_factory):
    """`tiny_model` without dropout, so that equal batches give equal steps."""
    from tfseg.models import segformer

    path = tmp_path_factory.mktemp("models") / "plain"
    segformer.save_model(tiny_model, str(path))
    config = json.loads((path / "config.json").read_text())
    config.update(drop_path_rate=0.0, classifier_dropout_prob=0.0)
    (path / "config.json").write_text(json.dumps(config))
    return str(path)


def make_boxes_config(boxes_dir, init_from, model_dir, **training):
    from tfseg.config import DataConfig, ModelConfig, RunConfig, TrainConfig, TrainingConfig

    return TrainConfig(
        data=DataConfig(dataset=f"folder:{boxes_dir}", image_size=(64, 64)),
        model=ModelConfig(init_from=init_from),
        training=TrainingConfig(
            **{"train_batch_size": 4, "epochs": 2, "learning_rate": 3e-3, **training}
        ),
        run=RunConfig(model_dir=str(model_dir)),
    )


@pytest.fixture(scope="session")
def boxes_run(boxes_dir, plain_model_dir, tmp_path_factory):
    """(folder, config, figures) of a training that has ended; tests must not change it."""
    from tfseg.training.run import run_training

    model_dir = tmp_path_factory.mktemp("runs") / "boxes"
    config = make_boxes_config(boxes_dir, plain_model_dir, model_dir)
    return model_dir, config, run_training(config)


@pytest.fixture
def local_hub(monkeypatch, tmp_path):
    """Runs a local server that looks files up as the Hub does; gives the folder that it serves."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), hosts.ModelHubHandler)
    server.folder = tmp_path / "hub"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    hosts.use_model_hub(monkeypatch, endpoint, tmp_path / "cache")
    yield server.folder
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def hub_server(monkeypatch, tmp_path):
    """A Hub on this machine that takes uploads, to which this process is logged in."""
    from tests.hub.hub_server import HubServer

    server = HubServer(tmp_path / "hub")
    server.use(monkeypatch, tmp_path / "cache")
    yield server
    server.close()


@pytest.fixture
def browser(tmp_path):
    """Debian's Chromium without a window; downloads go to `tmp_path`."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    for program in ("chromium", "chromedriver"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1200,1000"):
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"download.default_directory": str(tmp_path)})
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    driver.implicitly_wait(60)
    yield driver
    driver.quit()
