import http.server
import io
import json
import logging
import shutil
import threading
import time

import tfseg  # noqa: F401  sets TF_USE_LEGACY_KERAS before TensorFlow is imported

# isort: split
import datasets
import huggingface_hub.constants
import numpy as np
import pytest
from datasets.packaged_modules.parquet.parquet import Parquet
from PIL import Image

from tests import hosts
from tfseg.config import DataConfig
from tfseg.data import pipeline
from tfseg.data.catalog import get_dataset_spec
from tfseg.data.labels import LabelSpec
from tfseg.data.sources import huggingface
from tfseg.errors import UserError

LABELS = LabelSpec(("a", "b", "c"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def point_to(url, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", url)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
    template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def closed_hub(monkeypatch):
    """A Hub on whose port nobody listens."""
    point_to(hosts.find_closed_url(), monkeypatch)


class HubHandler(http.server.BaseHTTPRequestHandler):
    """Answers as the Hub does for data sets that are one loading script without a README.

    `scripted` is such a data set, `missing` does not exist, and all others are forbidden.
    """

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        if self.path == "/":
            self.answer(200)
        elif "/missing" in self.path:
            self.answer(404, headers={"X-Error-Code": "RepoNotFound"})
        elif "/api/datasets/scripted" in self.path:
            self.answer(200, json.dumps({"id": "scripted", "sha": "c" * 40}).encode())
        elif self.path.endswith("/scripted.py"):
            headers = {"X-Repo-Commit": "c" * 40, "ETag": "'e'"}
            self.answer(200, b"import datasets", headers)
        elif "/datasets/scripted/" in self.path:
            self.answer(404, headers={"X-Error-Code": "EntryNotFound", "X-Repo-Commit": "c" * 40})
        else:
            self.answer(403)

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def open_hub(monkeypatch, tmp_path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), HubHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    point_to(f"http://127.0.0.1:{server.server_port}", monkeypatch)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    yield
    server.shutdown()
    server.server_close()


def encode(array, file_format="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, file_format)
    return {"bytes": buffer.getvalue(), "path": None}


def rows(count=4):
    """Example i has i + 8 rows, pixels 10 i and class i % 3."""
    for index in range(count):
        size = (8 + index, 12)
        yield (
            encode(np.full((*size, 3), 10 * index, np.uint8)),
            encode(np.full(size, index % 3, np.uint8)),
        )


@pytest.fixture
def write(tmp_path):
    """Writes rows as `<split>.parquet` and returns the folder."""

    def write(pairs, image_key="image", mask_key="annotation", split="train", **columns):
        images, masks = zip(*pairs, strict=True)
        table = datasets.Dataset.from_dict({image_key: images, mask_key: masks, **columns})
        for key in (image_key, mask_key):
            table = table.cast_column(key, datasets.Image())
        folder = tmp_path / "parquet"
        folder.mkdir(exist_ok=True)
        table.to_parquet(folder / f"{split}.parquet")
        return str(folder)

    return write


def load(folder, split="train", labels=LABELS, **options):
    return list(huggingface.load(folder, split, labels, **options).examples.as_numpy_iterator())


def test_examples(write):
    folder = write(rows())
    loaded = huggingface.load(folder, "train", LABELS)
    assert loaded.num_examples == len(loaded.examples) == 4
    for index, example in enumerate(loaded.examples.as_numpy_iterator()):
        assert example["name"].decode() == f"train_{index}"
        assert (example["image"] == 10 * index).all()
        assert example["image"].shape == (8 + index, 12, 3)
        assert (example["mask"] == index % 3).all()
        assert example["mask"].dtype == np.int32


def test_slices_splits_and_max_examples(write):
    folder = write(rows())
    write(rows(2), split="validation")
    assert len(load(folder, "validation")) == 2
    assert [len(example["image"]) for example in load(folder, "train[50%:]")] == [10, 11]
    assert [len(example["image"]) for example in load(folder, max_examples=3)] == [8, 9, 10]


@pytest.mark.parametrize(("image_key", "mask_key"), [("pixel_values", "label"), ("img", "mask")])
def test_usual_columns_are_found(write, image_key, mask_key):
    assert len(load(write(rows(), image_key, mask_key))) == 4


def test_columns_by_flag_through_the_pipeline(write, tmp_path):
    # `label` is a usual name of a mask column, but this one holds numbers.
    folder = write(rows(), "photo", "regions", label=[1, 2, 3, 4])
    names = tmp_path / "names.json"
    names.write_text('{"1": "cat", "2": "dog"}')
    spec = get_dataset_spec(f"hf:{folder}", id2label=str(names))
    config = DataConfig(image_key="photo", mask_key="regions")
    examples = pipeline.load_split(spec, config, "train", None).examples
    class_ids = [int(example["mask"][0, 0]) for example in examples.as_numpy_iterator()]
    assert class_ids == [255, 0, 1, 255]
    with pytest.raises(UserError, match=r"--image_key is needed: image, .* \(allowed: photo, reg"):
        pipeline.load_split(spec, DataConfig(), "train", None)


def test_wrong_columns_list_the_image_columns(write):
    folder = write(rows(), kind=["x"] * 4)
    with pytest.raises(UserError, match=r"--mask_key=kind is no image column .*image, annotation"):
        load(folder, mask_key="kind")
    with pytest.raises(UserError, match=r"--image_key=foto is no image column .*image, annotation"):
        load(folder, image_key="foto")


def test_palette_16_bit_and_grayscale(write):
    picture = Image.fromarray(np.array([[0, 1, 2]], np.uint8), mode="P")
    picture.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    palette = io.BytesIO()
    picture.save(palette, "PNG")
    grey = encode(np.full((1, 3), 80, np.uint8), "JPEG")
    sixteen_bits = encode(np.array([[0, 300, 65535]], np.uint16))
    examples = load(
        write([(grey, {"bytes": palette.getvalue(), "path": None}), (grey, sixteen_bits)])
    )
    assert [example["mask"].tolist() for example in examples] == [[[0, 1, 2]], [[0, 300, 65535]]]
    assert examples[0]["image"].shape == (1, 3, 3)


def truncated_image(rng):
    image = encode(rng.integers(0, 256, (40, 40, 3), np.uint8), "JPEG")
    image["bytes"] = image["bytes"][:500]
    return (image, encode(np.zeros((40, 40), np.uint8))), r"image of train_1 cannot be decoded"


def mask_of_another_size(rng):
    pair = encode(np.zeros((8, 12, 3), np.uint8)), encode(np.zeros((12, 8), np.uint8))
    return pair, r"annotation of train_1 is 12x8 \(height x width\) but its image .* is 8x12"


def colour_mask(rng):
    pair = encode(np.zeros((8, 12, 3), np.uint8)), encode(np.zeros((8, 12, 3), np.uint8))
    return pair, r"annotation of train_1 cannot be read as a mask \(it has 3 channels"


def missing_mask(rng):
    return (encode(np.zeros((8, 12, 3), np.uint8)), None), r"annotation of train_1 cannot be read"


@pytest.mark.parametrize(
    "make_bad", [truncated_image, mask_of_another_size, colour_mask, missing_mask]
)
def test_bad_example_is_an_error_or_skipped(make_bad, write, rng, caplog):
    good = list(rows(2))
    bad, message = make_bad(rng)
    folder = write([good[0], bad, good[1]])
    with pytest.raises(UserError, match=message) as error:
        load(folder)
    assert "--on_bad_example=skip" in str(error.value)
    with caplog.at_level(logging.WARNING):
        examples = load(folder, on_bad_example="skip")
    assert [example["name"] for example in examples] == [b"train_0", b"train_2"]
    assert "skipped 1 of 3 examples" in caplog.text


def test_strict_labels(write):
    folder = write(rows())
    strict = LabelSpec(("a", "b"), strict=True)
    with pytest.raises(UserError, match="annotation of train_2 holds the value 2"):
        load(folder, labels=strict)


def test_image_folder(tmp_path, rng):
    """`datasets` hands out pictures of an image folder as paths, not as bytes."""
    folder = tmp_path / "pictures" / "train"
    folder.mkdir(parents=True)
    image = rng.integers(0, 256, (8, 12, 3), np.uint8)
    Image.fromarray(image).save(folder / "x.png")
    Image.fromarray(image[..., 0]).save(folder / "x_mask.png")
    line = json.dumps({"file_name": "x.png", "mask_file_name": "x_mask.png"})
    (folder / "metadata.jsonl").write_text(line)
    (example,) = load(str(folder.parent))
    np.testing.assert_array_equal(example["image"], image)
    np.testing.assert_array_equal(example["mask"], image[..., 0])


def test_unknown_split_lists_the_known_ones(write):
    folder = write(rows())
    write(rows(2), split="test")
    with pytest.raises(UserError, match=r"split 'val': Unknown split \"val\".*train.*test"):
        load(folder, "val")


def test_folder_without_data(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"hf:.*/empty, split 'train': .* doesn't contain any data"):
        load(str(tmp_path / "empty"))


def test_unreachable_hub_is_one_error_within_seconds(closed_hub, capfd):
    started = time.monotonic()
    with pytest.raises(UserError) as error:
        load("nobody/nothing")
    assert time.monotonic() - started < 20
    for part in ("hf:nobody/nothing", "Hub did not answer", "HF_HUB_OFFLINE=1 to use a copy",
                 "hf download --repo-type dataset nobody/nothing --local-dir DIR",
                 "--dataset=hf:DIR", "--dataset=shapes"):  # fmt: skip
        assert part in str(error.value)
    assert "\n" not in str(error.value)
    assert len(capfd.readouterr().err.splitlines()) < 5


def test_a_local_loading_script_is_named_with_the_way_that_works(tmp_path):
    folder = tmp_path / "scripted"
    folder.mkdir()
    (folder / "scripted.py").write_text("import datasets")
    for path in (folder, folder / "scripted.py"):
        with pytest.raises(UserError) as error:
            load(str(path))
        assert f"hf:{path} is a loading script" in str(error.value)
        assert "hf download --repo-type dataset NAME --revision refs/convert/parquet" in str(
            error.value
        )


def test_a_loading_script_on_the_hub_is_named_with_the_way_that_works(open_hub):
    with pytest.raises(UserError) as error:
        load("scripted")
    assert "hf:scripted is a loading script" in str(error.value)
    assert (
        "hf download --repo-type dataset scripted --revision refs/convert/parquet --local-dir DIR, "
        "then --dataset=hf:DIR/CONFIGURATION"
    ) in str(error.value)


def test_a_configuration_of_the_parquet_copy_can_be_read(write, tmp_path):
    """The branch holds CONFIGURATION/SPLIT/0000.parquet; other configurations do not matter."""
    for configuration, count in (("scenes", 3), ("instances", 2)):
        folder = tmp_path / "copy" / configuration / "train"
        folder.mkdir(parents=True)
        shutil.move(f"{write(rows(count))}/train.parquet", folder / "0000.parquet")
    assert len(load(str(tmp_path / "copy" / "scenes"))) == 3


@pytest.mark.parametrize(
    ("path", "message"),
    [("missing", "'missing' doesn't exist on the Hub"), ("forbidden", "LocalEntryNotFoundError")],
)
def test_what_an_answering_hub_says_is_passed_on(path, message, open_hub):
    with pytest.raises(UserError, match=f"hf:{path}, split 'train': .*{message}") as error:
        load(path)
    assert "did not answer" not in str(error.value)
    assert "\n" not in str(error.value)


@pytest.fixture
def offline(monkeypatch):
    """What HF_HUB_OFFLINE=1 sets when the modules are imported."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def test_offline_mode_uses_the_copy_in_the_cache(write, tmp_path, closed_hub, offline):
    files = {"train": [f"{write(rows(3))}/train.parquet"]}
    builder = Parquet(dataset_name="pictures", hash="abc", data_files=files)
    builder.download_and_prepare()
    # A copy from the Hub lies in the same folder, but its name has no hash.
    (configuration,) = (tmp_path / "cache" / "pictures").iterdir()
    configuration.rename(configuration.with_name("default"))
    assert len(load("pictures")) == 3


def test_offline_mode_without_a_copy_is_not_called_an_unreachable_hub(closed_hub, offline):
    with pytest.raises(UserError, match=r"hf:nobody/nothing, .*OfflineModeIsEnabled") as error:
        load("nobody/nothing")
    assert "did not answer" not in str(error.value)


def digest(folder, **options):
    return huggingface.load(folder, "train", LABELS, **options).digest


def test_digest_changes_with_the_examples_alone(write, tmp_path):
    digests = [digest(write(rows(4))), digest(write(rows(3))), digest(write(rows(2)))]
    assert len(set(digests)) == 3
    folder = write(rows(4))
    assert digest(folder, max_examples=3) == digests[1]
    shutil.move(folder, tmp_path / "elsewhere")
    assert digest(str(tmp_path / "elsewhere")) == digests[0]
    one_pixel = list(rows(4))
    mask = np.full((9, 12), 1, np.uint8)
    mask[3, 5] = 2
    one_pixel[1] = one_pixel[1][0], encode(mask)
    assert digest(write(one_pixel)) not in digests
