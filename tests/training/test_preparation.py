"""What a training prints about its data before it starts."""

import logging
import shutil

from tests.conftest import make_boxes_config
from tfseg.config import DoctorConfig, DoctorRunConfig
from tfseg.inspection import run_inspection
from tfseg.training.preparation import prepare_run


def test_a_training_prints_the_doctors_verdict_on_the_same_files(
    boxes_dir, plain_model_dir, tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = shutil.copytree(boxes_dir, tmp_path / "boxes")
    config = make_boxes_config(folder, plain_model_dir, tmp_path / "run")
    assert doctor_lines(config, caplog) == [
        "doctor: fit: 12 train and 5 eval examples, 3 classes, 0 problems; "
        "python -m tfseg.doctor with the same flags for the data looks closer"
    ]
    run_inspection(DoctorConfig(DoctorRunConfig(str(tmp_path / "doctor")), config.data))
    assert doctor_lines(config, caplog) == [
        "doctor: fit: 12 train and 5 eval examples, 3 classes, 0 problems, 0 notes"
    ]


def doctor_lines(config, caplog):
    caplog.clear()
    with caplog.at_level(logging.INFO):
        prepare_run(config)
    lines = [record.getMessage() for record in caplog.records]
    return [line for line in lines if line.startswith("doctor: ")]
