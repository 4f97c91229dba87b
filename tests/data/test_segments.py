import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfseg  # noqa: F401  sets TF_USE_LEGACY_KERAS before TensorFlow is imported
from tests.data.sources.pictures import encode
from tfseg.config import DataConfig
from tfseg.data import label_table, masks, pipeline, segments
from tfseg.data.labels import NO_VALUE, LabelSpec
from tfseg.errors import UserError

IDS = np.array([[0, 7, 7], [70_000, 258, 7]], np.int32)
ENTRIES = [
    {"id": 70_000, "category_id": 2},
    {"id": 7, "category_id": 1, "area": 3},
    {"id": 258, "category_id": 2},
]
VALUES = [[NO_VALUE, 1, 1], [2, 2, 1]]
CLASS_IDS = [[255, 0, 0], [1, 1, 0]]
NAMES = '{"1": "road", "2": "car"}'


def colours(ids):
    """Returns ids as COCO and Segments.ai write them: red + 256 green + 65,536 blue."""
    return np.stack([ids % 256, ids // 256 % 256, ids // 65_536], -1).astype(np.uint8)


def test_segments_become_the_values_of_their_categories():
    own = segments.make_segments(ENTRIES)
    assert own.ids.tolist() == [7, 258, 70_000]
    assert segments.map_segments(tf.constant(IDS), *own).numpy().tolist() == VALUES
    none = segments.make_segments([])
    assert (segments.map_segments(tf.constant(IDS), *none).numpy() == NO_VALUE).all()


@pytest.mark.parametrize("alpha", [False, True])
def test_both_decoders_read_ids_in_colours(alpha):
    pixels = colours(IDS)
    if alpha:
        pixels = np.concatenate([pixels, np.full((2, 3, 1), 255, np.uint8)], -1)
    data, own = encode(pixels)["bytes"], segments.make_segments(ENTRIES)
    labels = LabelSpec(("road", "car"), (1, 2))
    assert masks.decode_mask(data, labels, own).tolist() == VALUES
    assert masks.decode_mask_tensor(tf.constant(data), labels, own).numpy().tolist() == VALUES


def test_both_decoders_read_ids_in_16_bits():
    data = encode(np.array([[300, 2]], np.uint16))["bytes"]
    own = segments.make_segments([{"id": 300, "category_id": 5}])
    assert masks.decode_mask(data, None, own).tolist() == [[5, NO_VALUE]]
    assert masks.decode_mask_tensor(tf.constant(data), None, own).numpy().tolist() == [[5, -1]]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"id": 1}], '"id" and "category_id"'),
        ([ENTRIES[0], ENTRIES[0]], "two segments have the same id"),
    ],
)
def test_lists_that_are_none(entries, message):
    with pytest.raises(ValueError, match=message):
        segments.make_segments(entries)


COCO = {"annotations": [{"file_name": "a.png", "segments_info": ENTRIES}]}
SEGMENTS_AI = {
    "name": "v0.1",
    "dataset": {
        "samples": [
            {"name": "a.jpg", "labels": {"ground-truth": {"attributes": {"annotations": ENTRIES}}}},
            {"name": "not labelled.jpg", "labels": {"ground-truth": None}},
        ]
    },
}


@pytest.fixture
def panoptic(tmp_path):
    """Two pairs; the list has the segments of the first alone."""
    (tmp_path / "id2label.json").write_text(NAMES)
    for name in "ab":
        for part, pixels in (("images", colours(IDS)), ("masks", colours(IDS))):
            (tmp_path / part).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / part / f"{name}.png")
    return tmp_path


def load(dataset, **options):
    data = DataConfig(dataset=dataset, **options)
    spec = pipeline.get_spec(data)
    return spec, pipeline.load_split(spec, data, "train", None)


@pytest.mark.parametrize("content", [COCO, SEGMENTS_AI], ids=["COCO", "Segments.ai"])
@pytest.mark.parametrize("strict", [False, True])
def test_a_folder_with_a_file_of_segments(content, strict, panoptic):
    path = panoptic / "segments.json"
    path.write_text(json.dumps(content))
    options = {"segments_info": str(path), "strict_labels": strict}
    spec, split = load(f"folder:{panoptic}", **options)
    first, second = split.examples.as_numpy_iterator()
    assert first["mask"].tolist() == CLASS_IDS
    assert (second["mask"] == 255).all()
    assert split.pixels == {1: 3, 2: 2, NO_VALUE: 7}
    assert label_table.warn_unnamed(spec.labels, split.pixels) is None


def test_other_segments_make_another_digest(panoptic):
    path, digests = panoptic / "segments.json", set()
    for category in (1, 2):
        entry = {"file_name": "a.png", "segments_info": [{"id": 7, "category_id": category}]}
        path.write_text(json.dumps({"annotations": [entry]}))
        digests.add(load(f"folder:{panoptic}", segments_info=str(path))[1].digest)
    assert len(digests) == 2


@pytest.mark.parametrize("text", ["[]", "{}", '{"annotations": [{"file_name": "a.png"}]}'])
def test_a_file_that_holds_no_segments(text, panoptic):
    (panoptic / "segments.json").write_text(text)
    with pytest.raises(UserError, match=r"--segments_info=.*must be a JSON object as COCO has it"):
        load(f"folder:{panoptic}", segments_info=str(panoptic / "segments.json"))


@pytest.mark.parametrize("has_lists", [True, False])
def test_a_hugging_face_data_set_of_segments_ai(has_lists, tmp_path):
    """Its columns are called so by Segments.ai's own export to the Hub."""
    import datasets

    datasets.disable_progress_bars()
    (tmp_path / "names.json").write_text(NAMES)
    entries = [{"id": each["id"], "category_id": each["category_id"]} for each in ENTRIES]
    kind = {"id": datasets.Value("int32"), "category_id": datasets.Value("int32")}
    features = datasets.Features(
        {
            "name": datasets.Value("string"),
            "image": datasets.Image(),
            "label.annotations": [kind] if has_lists else datasets.Sequence(kind),
            "label.segmentation_bitmap": datasets.Image(),
        }
    )
    own = entries if has_lists else {key: [each[key] for each in entries] for key in kind}
    columns = [["a"], [encode(colours(IDS))], [own], [encode(colours(IDS))]]
    table = datasets.Dataset.from_dict(dict(zip(features, columns, strict=True)), features)
    table.to_parquet(tmp_path / "train.parquet")
    path = tmp_path / "train.parquet"
    _, split = load(f"hf:{path}", id2label=str(tmp_path / "names.json"))
    (example,) = split.examples.as_numpy_iterator()
    assert example["mask"].tolist() == CLASS_IDS
    assert split.pixels == {1: 3, 2: 2, NO_VALUE: 1}
