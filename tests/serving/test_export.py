"""Exporting a model writes the next version, and refuses what it cannot do before it starts."""

import pytest

import tfseg  # noqa: F401
from tfseg.config import ExportConfig
from tfseg.errors import UserError
from tfseg.serving import export

import tensorflow as tf  # isort: skip  (after tfseg)


def test_export_writes_the_next_version_at_the_given_size(tiny_model_dir, tmp_path):
    (tmp_path / "4").mkdir()
    config = ExportConfig(model=tiny_model_dir, export_dir=str(tmp_path), image_size=(32, 64))
    path = export.run_export(config)
    assert path == tmp_path / "5"
    loaded = tf.saved_model.load(str(path))
    (text,) = loaded.signatures["describe"]()["description_json"].numpy()
    assert b'"image_size": [32, 64]' in text


def test_an_existing_version_is_refused_before_the_model_is_read(tmp_path):
    (tmp_path / "4").mkdir()
    config = ExportConfig(model=str(tmp_path / "missing"), export_dir=str(tmp_path), version=4)
    with pytest.raises(UserError, match="--version=4 exists"):
        export.run_export(config)


def test_the_error_for_a_missing_model_names_it(tmp_path):
    config = ExportConfig(model=str(tmp_path / "missing"), export_dir=str(tmp_path / "out"))
    with pytest.raises(UserError, match=r"--model=.*missing: no such folder"):
        export.run_export(config)
    assert not (tmp_path / "out").exists()
