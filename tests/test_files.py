"""A file or folder is replaced whole or not at all."""

import os
import re
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


@pytest.fixture
def system_calls(monkeypatch):
    """Lists each fsync and each rename as (call, path); both still happen."""
    calls, fsync, replace = [], os.fsync, os.replace

    def record_fsync(descriptor):
        calls.append(("fsync", os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def record_replace(source, target):
        calls.append(("replace", str(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    return calls


TEMPORARY = r"/\.{}\.\d+-[0-9a-f]{{8}}\.tfseg-tmp"


def test_content_reaches_the_disk_before_its_name_and_the_name_before_the_end(
    tmp_path, system_calls
):
    files.write_atomically(tmp_path / "file", "new")
    (first, temporary), *others = system_calls
    assert first == "fsync"
    assert re.fullmatch(re.escape(str(tmp_path)) + TEMPORARY.format("file"), temporary)
    assert others == [("replace", str(tmp_path / "file")), ("fsync", str(tmp_path))]


def test_every_file_of_a_folder_reaches_the_disk_before_the_folders_name(tmp_path, system_calls):
    with files.replacing(tmp_path / "1") as temporary:
        (temporary / "variables").mkdir(parents=True)
        (temporary / "saved_model.pb").write_text("graph")
        (temporary / "variables" / "data").write_text("weights")
    *flushed, rename, last = system_calls
    parts = {os.path.relpath(path, temporary) for call, path in flushed if call == "fsync"}
    assert parts == {".", "saved_model.pb", "variables", "variables/data"}
    assert rename == ("replace", str(tmp_path / "1"))
    assert last == ("fsync", str(tmp_path))


def leave_temporary(path):
    """Starts to write a file or folder, and dies in the middle."""
    program = f"""
        import os
        from tfseg import files
        with files.replacing({str(path)!r}) as temporary:
            if {path.name == "1"}:
                temporary.mkdir()
                temporary = temporary / "data"
            temporary.write_text("half")
            os._exit(9)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False)


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    own = {
        ".notes.tmp",
        ".file.1-abc.tmp",
        ".tfseg-tmp",
        ".a.tfseg-tmp",
        "file.1-12345678.tfseg-tmp",
    }
    for name in own:
        (tmp_path / name).write_text("a user's")
    for name in ("file", "1"):
        leave_temporary(tmp_path / name)
    assert len(names(tmp_path)) == len(own) + 2
    files.remove_leftovers(tmp_path)
    assert set(names(tmp_path)) == own


def test_no_folder_has_no_leftovers(tmp_path):
    files.remove_leftovers(tmp_path / "nowhere")
    assert names(tmp_path) == []


def test_a_leftover_of_a_kill_does_not_disturb_the_next_write(tmp_path):
    leave_temporary(tmp_path / "file")
    files.write_atomically(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "new"
