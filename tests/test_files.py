"""A file or folder is replaced whole or not at all."""

import subprocess
import sys
import textwrap

import pytest

from tfseg import files


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("content", ["grüße\n", b"\x00\xff"])
def test_content_is_written_with_its_parent_folders(tmp_path, content):
    path = tmp_path / "a" / "b" / "file"
    files.write_atomically(path, content)
    expected = content if isinstance(content, bytes) else content.encode()
    assert path.read_bytes() == expected
    assert names(path.parent) == ["file"]


def test_an_old_file_is_replaced(tmp_path):
    path = tmp_path / "file"
    path.write_text("old and longer")
    files.write_atomically(path, "new")
    assert path.read_text() == "new"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("old")

    def write():
        with files.replacing(path) as temporary:
            temporary.write_text("half")
            assert names(tmp_path) != ["file"]
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_an_exception_before_anything_is_written_leaves_nothing(tmp_path):
    def write():
        with files.replacing(tmp_path / "file"):
            raise ValueError("early")

    with pytest.raises(ValueError, match="early"):
        write()
    assert names(tmp_path) == []


def test_a_folder_appears_whole(tmp_path):
    with files.replacing(tmp_path / "saved" / "1") as temporary:
        (temporary / "variables").mkdir(parents=True)
        (temporary / "variables" / "data").write_text("weights")
        assert not (tmp_path / "saved" / "1").exists()
    assert (tmp_path / "saved" / "1" / "variables" / "data").read_text() == "weights"
    assert names(tmp_path / "saved") == ["1"]


def test_an_exception_removes_a_half_written_folder(tmp_path):
    def write():
        with files.replacing(tmp_path / "1") as temporary:
            temporary.mkdir()
            (temporary / "data").write_text("half")
            raise ValueError("late")

    with pytest.raises(ValueError, match="late"):
        write()
    assert names(tmp_path) == []


@pytest.mark.parametrize("filled", [False, True])
def test_a_folder_that_exists_is_not_replaced(tmp_path, filled):
    folder = tmp_path / "1"
    folder.mkdir()
    if filled:
        (folder / "data").write_text("old")

    def write():
        with files.replacing(folder) as temporary:
            temporary.mkdir()
            (temporary / "data").write_text("new")

    with pytest.raises(FileExistsError, match="1 exists"):
        write()
    assert names(tmp_path) == ["1"]
    assert names(folder) == (["data"] if filled else [])
    if filled:
        assert (folder / "data").read_text() == "old"


@pytest.mark.parametrize("instant", ["before", "after"])
def test_a_kill_leaves_the_old_content_or_the_new_one(tmp_path, instant):
    path = tmp_path / "file"
    path.write_text("old")
    program = f"""
        import os
        from tfseg import files
        with files.replacing({str(path)!r}) as temporary:
            temporary.write_text("new, but only hal")
            temporary.write_text("new")
            if {instant == "before"}:
                os._exit(9)
        os._exit(9)
    """
    code = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False).returncode
    assert code == 9
    assert path.read_text() == ("old" if instant == "before" else "new")


def test_a_leftover_of_a_kill_does_not_disturb_the_next_write(tmp_path):
    (tmp_path / ".file.1-abc.tmp").write_text("half")
    files.write_atomically(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "new"
