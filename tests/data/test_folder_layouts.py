import numpy as np
import pytest
from etils import epath
from PIL import Image

import tfseg  # noqa: F401  sets TF_USE_LEGACY_KERAS before TensorFlow is imported
from tfseg.config import DataConfig
from tfseg.data import pipeline
from tfseg.data.folder_layouts import FolderLayout
from tfseg.data.labels import LabelSpec
from tfseg.data.sources import folder as folder_source
from tfseg.errors import UserError

LABELS = LabelSpec(tuple("abcdefgh"))


def write(root, *paths):
    """Writes images, and a mask of value 1 for every path that has `mask` or `gt` in it."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        is_mask = any(word in path for word in ("mask", "annotations", "gtFine", "Segmentation"))
        pixels = np.full((4, 6), 1, np.uint8) if is_mask else np.zeros((4, 6, 3), np.uint8)
        Image.fromarray(pixels).save(root / path)


def pairs(root, split, on_bad_example="error", **suffixes):
    layout = FolderLayout(epath.Path(root), **suffixes)
    found = folder_source.find_pairs(layout, split, on_bad_example)
    return [(str(pair.image.relative_to(root)), str(pair.mask.relative_to(root))) for pair in found]


LAYOUTS = {
    "ade20k": (("images/train/x.jpg", "annotations/train/x.png"), {}),
    "per split": (("train/images/x.jpg", "train/masks/x.png"), {}),
    "undivided": (("images/x.jpg", "masks/x.png"), {}),
    "suffixes": (
        ("images/train/x.jpg", "masks/train/x_mask.png"),
        {"mask_suffix": "_mask.png"},
    ),
    "side by side": (("train/x.png", "train/x_mask.png"), {"mask_suffix": "_mask.png"}),
    "all side by side": (("x.jpg", "x_mask.PNG"), {"mask_suffix": "_mask.png"}),
    "segments.ai": (
        ("x.jpg", "x_label_mask_semantic.png"),
        {"mask_suffix": "_label_mask_semantic.png"},
    ),
    "cityscapes": (
        (
            "leftImg8bit/train/ulm/ulm_0_leftImg8bit.png",
            "gtFine/train/ulm/ulm_0_gtFine_labelIds.png",
        ),
        {"image_suffix": "_leftImg8bit.png", "mask_suffix": "_gtFine_labelIds.png"},
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, tmp_path):
    pair, suffixes = LAYOUTS[layout]
    write(tmp_path, *pair)
    assert pairs(tmp_path, "train", **suffixes) == [pair]
    assert FolderLayout(epath.Path(tmp_path), **suffixes).find_splits() == ["train"]


def test_masks_of_other_kinds_beside_those_of_the_suffix(tmp_path):
    image, mask = LAYOUTS["cityscapes"][0]
    write(tmp_path, image, mask, mask.replace("labelIds", "instanceIds"))
    assert pairs(tmp_path, "train", **LAYOUTS["cityscapes"][1]) == [(image, mask)]


def test_lists_of_pascal_voc(tmp_path):
    for name in "abc":
        write(tmp_path, f"JPEGImages/{name}.jpg", f"SegmentationClass/{name}.png")
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\nc\n")
    (lists / "val.txt").write_text("b\n")
    assert FolderLayout(epath.Path(tmp_path)).find_splits() == ["train", "val"]
    assert [image for image, _ in pairs(tmp_path, "train")] == [
        "JPEGImages/a.jpg",
        "JPEGImages/c.jpg",
    ]
    assert [mask for _, mask in pairs(tmp_path, "val")] == ["SegmentationClass/b.png"]


@pytest.mark.parametrize("line", ["a b", "a b.jpg", "sub/a b", "sub/a b.jpg"])
def test_a_list_may_name_files_and_folders(line, tmp_path):
    write(tmp_path, "images/sub/a b.jpg", "masks/sub/a b.png", "images/c.jpg", "masks/c.png")
    (tmp_path / "train.txt").write_text(f"\n{line}\nc 1 2 3\n")
    images = [image for image, _ in pairs(tmp_path, "train")]
    assert sorted(images) == ["images/c.jpg", "images/sub/a b.jpg"]


def test_a_list_that_names_a_missing_image(tmp_path, caplog):
    write(tmp_path, "images/a.jpg", "masks/a.png")
    (tmp_path / "val.txt").write_text("a\nb\nc\n")
    with pytest.raises(UserError, match=r"val.txt lists 'b' \(and 1 more\), but there is no such"):
        pairs(tmp_path, "val")
    assert len(pairs(tmp_path, "val", "skip")) == 1
    assert "skipped 'b' of" in caplog.text


def test_a_split_of_an_undivided_folder_needs_a_list(tmp_path):
    write(tmp_path, "images/a.jpg", "masks/a.png")
    with pytest.raises(UserError, match=r"no folder .*images/val; splits there: train "):
        pairs(tmp_path, "val")


def test_images_of_other_splits_are_not_those_of_train(tmp_path):
    write(tmp_path, "images/val/a.jpg", "annotations/val/a.png")
    with pytest.raises(UserError, match=r"no folder .*images/train; splits there: val "):
        pairs(tmp_path, "train")


def test_a_missing_mask_is_named_with_its_suffix(tmp_path):
    write(tmp_path, "x.jpg", "y.jpg", "y_mask.png")
    with pytest.raises(UserError, match=r"x.jpg has no mask .*/x_mask.png; .*--mask_suffix"):
        pairs(tmp_path, "train", mask_suffix="_mask.png")


def test_suffixes_are_for_folders():
    with pytest.raises(UserError, match=r"--mask_suffix=_mask\.png is for folder: data sets"):
        DataConfig(dataset="shapes", mask_suffix="_mask.png")


def test_flags_reach_the_folder(tmp_path):
    write(tmp_path, "x.jpg", "x_mask.png", "y.jpg", "y_mask.png")
    (tmp_path / "id2label.json").write_text('{"0": "sky", "1": "road"}')
    data = DataConfig(dataset=f"folder:{tmp_path}", mask_suffix="_mask.png")
    split = pipeline.load_split(pipeline.get_spec(data), data, "train", None)
    assert split.num_examples == 2
    assert all((example["mask"] == 1).all() for example in split.examples.as_numpy_iterator())
