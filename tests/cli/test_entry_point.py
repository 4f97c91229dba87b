"""The entry points: mistakes end in one line, and nothing before the run touches the devices."""

import pytest


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("train", ["--dataset=oxford_pet"], ["--dataset=oxford_pet", "oxford_iiit_pet"]),
        ("train", ["--lr_schedule=polynomal"], ["--lr_schedule=polynomal", "'polynomial'"]),
        ("train", ["--image_size=200"], ["multiples of 32", "200,200"]),
        ("train", ["--class_weights=road=2"], ["--class_weights", "'road'", "allowed: "]),
        ("train", ["stray"], ["unexpected word 'stray'"]),
        ("train", ["--noepochs"], ["noepochs"]),
        ("eval", [], ["--model is required"]),
        ("export", ["--model=m"], ["--export_dir is required"]),
        ("predict", ["--model=m"], ["image"]),
        ("push", ["--model_dir=nowhere"], ["--model_dir=nowhere has no config.json"]),
    ],
)
def test_mistakes_end_in_one_line_and_exit_code_1(run_entry, name, arguments, words):
    """TensorFlow's start-up messages may stand above the line."""
    result = run_entry(name, *arguments)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr
    lines = result.stderr.splitlines()
    if "Flags parsing error" not in result.stderr:
        assert [line for line in lines if line.startswith("error: ")] == lines[-1:]


RUN_ENTRY = """
import runpy, sys
name = sys.argv.pop(1)
try:
    runpy.run_module(name, run_name="__main__")
except SystemExit as exit:
    print("exit code", exit.code)
"""


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("train", ["--image_size=200"]),
        ("eval", []),
        ("predict", ["--model=m"]),
        ("export", ["--model=m"]),
        ("push", []),
    ],
)
def test_tensorflow_loads_only_after_the_flags_are_checked(run_code, name, arguments):
    code = RUN_ENTRY + "print('loaded', 'tensorflow' in sys.modules)"
    result = run_code(code, f"tfseg.{name}", *arguments)
    assert result.stdout == "exit code 1\nloaded False\n", result.stderr


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("train", ["--dataset=folder:nowhere"], "no folder nowhere"),
        ("export", ["--model=./nowhere", "--export_dir=unused"], "--model=./nowhere"),
    ],
)
def test_the_devices_can_still_be_configured_when_a_run_starts(run_code, name, arguments, message):
    """The run itself raises the error: until then nothing may set up TensorFlow's devices."""
    code = (
        RUN_ENTRY
        + """
import tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
print(len(tf.config.list_logical_devices("CPU")), "devices")
"""
    )
    result = run_code(code, f"tfseg.{name}", *arguments)
    assert message in result.stderr
    assert result.stdout.endswith("exit code 1\n2 devices\n"), result.stderr
