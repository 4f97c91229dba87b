import datasets
import pyarrow as pa
import pytest
from datasets import Image, Value

from tfseg.data.sources.huggingface_cells import Cells, find_columns
from tfseg.errors import UserError


def find(*names, image_key=None, mask_key=None, **others):
    features = datasets.Features({**dict.fromkeys(names, Image()), **others})
    return find_columns(features, image_key, mask_key, "mine")


@pytest.mark.parametrize(
    "names", [("image", "annotation"), ("pixel_values", "label"), ("img", "mask")]
)
def test_usual_names_are_found_whatever_their_order(names):
    assert find(*names) == names
    assert find(*reversed(names)) == names
    assert find("depth", *names, instances=Value("int64")) == names


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("image", "regions"), ("image", "regions")),
        (("regions", "image"), ("image", "regions")),
        (("photo", "mask"), ("photo", "mask")),
        (("label", "photo"), ("photo", "label")),
    ],
)
def test_of_two_columns_the_other_is_the_other(names, expected):
    assert find(*names) == expected


def test_a_given_column_leaves_the_other():
    assert find("photo", "regions", image_key="photo") == ("photo", "regions")
    assert find("photo", "regions", mask_key="photo") == ("regions", "photo")
    assert find("image", "regions", mask_key="image") == ("regions", "image")
    assert find("image", "label", "depth", mask_key="depth") == ("image", "depth")


def test_a_usual_name_of_another_type_is_no_picture():
    assert find("photo", "image", label=Value("int64")) == ("image", "photo")


@pytest.mark.parametrize(
    ("names", "flag"),
    [
        (("photo", "regions"), "--image_key is needed: image, "),
        (("image", "img"), "--mask_key is needed: mask, "),
        (("mask", "labels"), "--image_key is needed"),
        (("image", "regions", "depth"), "--mask_key is needed"),
    ],
)
def test_columns_that_are_not_clear_are_asked_for(names, flag):
    allowed = ", ".join(names)
    with pytest.raises(UserError, match=f"{flag}.* no image column of hf:mine .allowed: {allowed}"):
        find(*names)


def test_wrong_columns_list_the_image_columns():
    for wrong in ({"image_key": "kind"}, {"mask_key": "kind"}):
        with pytest.raises(UserError, match=r"_key=kind is no image column .*image, annotation\)"):
            find("image", "annotation", kind=Value("string"), **wrong)


def test_one_column_for_both_is_refused():
    with pytest.raises(UserError, match="--image_key and --mask_key are both image"):
        find("image", "mask", image_key="image", mask_key="image")


def test_a_data_set_without_masks_is_named():
    with pytest.raises(UserError, match=r"hf:mine has no masks: .*only one is image \(columns: im"):
        find("image", label=Value("int64"))
    with pytest.raises(UserError, match=r"has no masks: .* there is none \(columns: text\)"):
        find(text=Value("string"))


def test_bytes_without_a_declaration_are_pictures():
    """Tools other than `datasets` write the storage of an image column, or bytes alone."""
    undeclared = {"bytes": Value("binary"), "path": Value("string")}
    assert find(image=undeclared, mask=Value("binary")) == ("image", "mask")
    assert find(image=Value("large_binary"), mask=undeclared) == ("image", "mask")


def cells(column, folder="/data/mine"):
    return Cells(pa.chunked_array(column), "mine", (str(folder), "/extracted"))


def test_cells_are_read_across_chunks():
    chunks = [[b"a", b"b"], [b"c"], [], [b"", None, b"d\0"]]
    structures = [[{"bytes": data, "path": "x"} for data in chunk] for chunk in chunks[:2]]
    plain = cells([pa.array(chunk, pa.large_binary()) for chunk in chunks])
    assert [plain.read(index) for index in range(6)] == [b"a", b"b", b"c", b"", b"", b"d\0"]
    storage = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    structured = cells([pa.array([*chunk, None], storage) for chunk in structures])
    assert [structured.read(index) for index in range(5)] == [b"a", b"b", b"", b"c", b""]


def path_cells(path, folder):
    return cells([pa.array([{"bytes": None, "path": path}])], folder)


def test_a_path_leads_to_a_file_of_the_data_set(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "x y.png").write_bytes(b"content")
    for path in ("train/x y.png", f"{tmp_path}/train/../train/x y.png"):
        assert path_cells(path, tmp_path).read(0) == b"content"
    with pytest.raises(FileNotFoundError, match=r"train/z\.png"):
        path_cells("train/z.png", tmp_path).read(0)


@pytest.mark.parametrize(
    "path",
    ["{}/secret.png", "../secret.png", "train/../../secret.png", "{}/mine_too/x.png",
     "http://127.0.0.1/x.png", "hf://datasets/a/b/x.png", "x\0.png"],
)  # fmt: skip
def test_a_path_outside_the_data_set_is_refused(path, tmp_path):
    for name in ("mine", "mine/train", "mine_too"):
        (tmp_path / name).mkdir()
    for name in ("secret.png", "mine_too/x.png"):
        (tmp_path / name).write_bytes(b"secret")
    with pytest.raises(UserError, match=r"image of train_0 names the file .* outside the data se"):
        path_cells(path.format(tmp_path), tmp_path / "mine").read(0, "image of train_0")
