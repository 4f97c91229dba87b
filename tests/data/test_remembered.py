import os

import pytest
from etils import epath

from tfseg.data import remembered


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    return path


def state(*paths):
    return remembered.state_of_files([epath.Path(path) for path in paths])


def test_the_state_of_files_changes_with_size_time_and_name(file, tmp_path):
    states = {state(file), state(file, file)}
    os.utime(file, ns=(1, 1))
    states.add(state(file))
    file.write_bytes(b"four")
    os.utime(file, ns=(1, 1))
    states.add(state(file))
    file.rename(tmp_path / "b.png")
    states.add(state(tmp_path / "b.png"))
    assert len(states) == 5
    assert state(tmp_path / "b.png") in states


@pytest.mark.parametrize("path", ["/missing.png", "gs://bucket/a.png"])
def test_files_whose_state_is_unknown(path):
    assert state(path) is None


def test_answers_are_told_apart_by_kind_and_facts(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    remembered.remember("kind", ("a", "b"), {"answer": 1})
    assert remembered.recall("kind", ("a", "b")) == {"answer": 1}
    assert remembered.recall("kind", ("a", "c")) is None
    assert remembered.recall("other", ("a", "b")) is None
