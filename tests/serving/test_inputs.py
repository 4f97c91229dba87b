"""Files, folders, globs and standard input: which images they stand for."""

import errno
import io
import os
import types

import pytest
from etils import epath

from tfseg.errors import UserError
from tfseg.serving import inputs


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Images in a folder and in folders inside it, with a few things that are no input."""
    for name in (
        "photos/b.jpg",
        "photos/a.PNG",
        "photos/notes.txt",
        "photos/2024/c.jpg",
        "photos/2024/may/a.png",
        "photos/.hidden/d.jpg",
        "photos/results/a_classes.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def find(*words, recursive=False, output_dir="out"):
    found = inputs.find_inputs(words, recursive=recursive, output_dir=output_dir)
    return [(str(each), each.stem) for each in found]


def test_a_folder_gives_its_own_images_by_name(photos):
    assert find("photos") == [("photos/a.PNG", "a"), ("photos/b.jpg", "b")]
    assert find("photos/", "photos/b.jpg") == find("photos")


def test_recursive_keeps_the_folders_and_leaves_out_hidden_ones_and_the_output(photos):
    found = find("photos", recursive=True, output_dir="photos/results")
    assert found == [
        ("photos/a.PNG", "a"),
        ("photos/b.jpg", "b"),
        ("photos/2024/c.jpg", "2024/c"),
        ("photos/2024/may/a.png", "2024/may/a"),
    ]
    assert ("photos/results/a_classes.png", "results/a_classes") in find("photos", recursive=True)


def test_recursive_searches_remote_folders_as_local_ones(photos, monkeypatch):
    local = find("photos", recursive=True, output_dir="photos/results")
    # The file system that TensorFlow has for gs:// lists the same folder here.
    monkeypatch.setattr(inputs.files, "is_local", lambda path: False)
    assert find("photos", recursive=True, output_dir="photos/results") == local
    assert find("photos/*.jpg") == [("photos/b.jpg", "b")]


def test_recursive_names_a_folder_that_it_may_not_read(photos, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError, match="photos"):
        inputs.find_inputs(["photos"], recursive=True, output_dir="out")


def test_recursive_ends_where_a_link_leads_back(photos):
    (photos / "photos" / "2024" / "loop").symlink_to(photos / "photos")
    assert len(find("photos", recursive=True, output_dir="photos/results")) == 4


def test_a_glob_means_what_a_shell_makes_of_it(photos, monkeypatch):
    assert find("photos/*.jpg") == [("photos/b.jpg", "b")]
    assert find("photos/[ab].*") == [("photos/a.PNG", "a"), ("photos/b.jpg", "b")]
    assert [name for name, _ in find("photos/**/*.jpg")] == ["photos/2024/c.jpg", "photos/b.jpg"]
    assert [name for name, _ in find("photos/20*")] == ["photos/2024/c.jpg"]
    monkeypatch.setenv("HOME", str(photos))
    assert find("~/photos/*.jpg") == [(f"{photos}/photos/b.jpg", "b")]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(photos):
    (photos / "a[1].jpg").touch()
    (photos / "a1.jpg").touch()
    assert find("a[1].jpg") == [("a[1].jpg", "a[1]")]


def test_standard_input_is_one_image(photos, monkeypatch):
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(b"image")))
    (found,) = inputs.find_inputs(["-", "-"], recursive=False, output_dir="out")
    assert (str(found), found.stem, found.read()) == ("-", "stdin", b"image")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("missing.jpg", r"missing\.jpg: no such file or folder"),
        ("https://example.org/cat.jpg", r"https://example\.org/cat\.jpg: images are not fetched"),
        ("photos/*.gif", r"photos/\*\.gif matches no file or folder"),
        ("empty", r"empty holds no image \(looked for \.jpg.*--recursive"),
    ],
)
def test_what_stands_for_no_image_is_named(photos, word, message):
    (photos / "empty").mkdir()
    with pytest.raises(UserError, match=message):
        find(word)


def test_results_of_recursive_inputs_do_not_collide(photos):
    found = inputs.find_inputs(["photos"], recursive=True, output_dir="photos/results")
    inputs.check_targets(found, epath.Path("out"), [".json"])
    words = ["photos/2024/may", "photos"]
    flat = inputs.find_inputs(words, recursive=False, output_dir="out")
    with pytest.raises(UserError, match=r"out/a\.json, which is the output of photos/2024/may/a"):
        inputs.check_targets(flat, epath.Path("out"), [".json"])
