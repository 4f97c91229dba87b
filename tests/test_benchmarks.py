"""The benchmarks run, their contestants agree, and the JSON file has its format."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks import contestants, harness, scaling, train_step
from tests.benchmarks.comparison import Comparison, compare

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "speed.md").read_text()
KEYS = {
    "work", "peer", "ratio", "ratio_min", "ratio_max", "tfseg", "peer_value", "unit", "rounds",
}  # fmt: skip


def page_command(name):
    """The command of a benchmark in docs/speed.md."""
    (command,) = re.findall(rf"^python (-m tests\.benchmarks\.{name})$", PAGE, re.MULTILINE)
    return [sys.executable, *command.split()]


def run_tiny(name, path):
    command = [*page_command(name), "--tiny", "--rounds=1", f"--json={path}"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, json.loads(path.read_text())


@pytest.mark.slow
def test_train_step_measures_every_peer_in_seconds(tmp_path):
    printed, rows = run_tiny("train_step", tmp_path / "results.json")
    assert [row["peer"] for row in rows] == ["hf_tensorflow", "hf_pytorch"]
    for row in rows:
        assert row.keys() == KEYS
        assert (row["work"], row["unit"], row["rounds"]) == ("tiny", "seconds", 1)
        assert row["ratio"] == row["ratio_min"] == row["ratio_max"]
        assert row["ratio"] == pytest.approx(row["peer_value"] / row["tfseg"])
    assert "first loss" in printed
    assert "skipped" not in printed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "peers", "unit"),
    [
        ("inference", ["hf_tensorflow", "hf_pytorch"], "seconds"),
        ("memory", ["hf_tensorflow", "hf_pytorch"], "GB"),
        ("input_pipeline", ["training"], "images/s"),
        ("doctor_rate", ["decoding"], "images/s"),
        ("end_to_end", ["hf_tensorflow"], "seconds"),
    ],
)
def test_the_other_benchmarks_run(name, peers, unit, tmp_path):
    _, rows = run_tiny(name, tmp_path / "results.json")
    assert [row["peer"] for row in rows] == peers
    assert all(row.keys() == KEYS and row["unit"] == unit for row in rows)


@pytest.mark.slow
def test_eval_rate_scores_masks_and_skips_a_peer_that_is_out_of_reach(tmp_path):
    """The Hub, from which the peer comes, cannot be reached in a test."""
    printed, rows = run_tiny("eval_rate", tmp_path / "results.json")
    assert [row["peer"] for row in rows] in ([], ["evaluate"])
    assert all(row.keys() == KEYS and row["unit"] == "images/s" for row in rows)
    assert bool(rows) != ("evaluate/_compute is skipped: " in printed)


@pytest.mark.slow
def test_scaling_runs_two_workers(tmp_path):
    printed, rows = run_tiny("scaling", tmp_path / "results.json")
    assert [row["peer"] for row in rows] == ["ideal", "apart", "step_to_all_reduce"]
    assert [row["unit"] for row in rows] == ["images/s", "images/s", "seconds"]
    assert all(row.keys() == KEYS for row in rows)
    assert 0 < rows[2]["tfseg"] < 60
    assert re.search(r"tiny: 0\.\d MB of gradients", printed)


@pytest.mark.slow
def test_hub_input_compares_rates_and_memory_of_the_same_images(tmp_path):
    printed, rows = run_tiny("hub_input", tmp_path / "results.json")
    found = [(row["peer"], row["unit"]) for row in rows]
    assert found == [("hf_guide", "images/s"), ("hf_workers", "images/s"), ("hf_guide", "GB")]
    assert all(row.keys() == KEYS for row in rows)
    assert "skipped" not in printed


def test_efficiency_is_the_rate_of_two_workers_by_twice_the_rate_of_one():
    # Seconds per step and per all-reduce; a step of one process takes two images.
    values = {"one": [(1.0, 0.0)], "apart": [(1.6, 0.0)], "two": [(2.0, 0.5)]}
    ideal, apart, all_reduce = scaling.compare(scaling.WORKS[-1], values)
    assert (ideal.ratios, apart.ratios, all_reduce.ratios) == ([0.5], [0.8], [4.0])
    assert (ideal.tfseg, ideal.peer_values) == ([2.0], [4.0])


def test_the_page_names_every_benchmark():
    folder = ROOT / "tests" / "benchmarks"
    runnable = {path.stem for path in folder.glob("*.py") if "harness.run(" in path.read_text()}
    assert set(re.findall(r"^python -m tests\.benchmarks\.(\w+)", PAGE, re.MULTILINE)) == runnable


def test_a_mixed_precision_is_compared_to_float32():
    work = next(work for work in train_step.WORKS if work.precision != "float32")
    assert contestants.choose(work) == ["tfseg", "tfseg_float32"]
    assert contestants.choose(train_step.WORKS[0])[0] == "tfseg"


def test_there_is_one_ratio_per_round_and_above_one_favours_tfseg():
    seconds = Comparison("work", "peer/variant", (1.0, 2.0, 4.0), (2.0, 6.0, 4.0), "seconds")
    row = seconds.to_json()
    assert (row["ratio_min"], row["ratio"], row["ratio_max"]) == (1.0, 2.0, 3.0)
    assert (row["peer"], row["tfseg"], row["peer_value"]) == ("peer", 2.0, 4.0)
    rate = Comparison("work", "peer", (30.0,), (10.0,), "images/s", larger_is_better=True)
    assert rate.ratios == [3.0]


def test_the_best_variant_of_a_peer_counts():
    values = {"tfseg": [1.0], "a/slow": [3.0], "a/fast": [2.0], "b": [9.0]}
    every, best = compare("work", values, "seconds")
    assert [row.peer for row in every] == ["a/slow", "a/fast", "b"]
    assert [row.peer for row in best] == ["a/fast", "b"]


def test_contestants_that_train_differently_are_refused():
    assert "at most" in train_step.check_losses({"tfseg": 1.0, "peer": 1.0005}, 1e-3)
    for wrong in (1.1, float("nan")):
        with pytest.raises(AssertionError, match="first losses"):
            train_step.check_losses({"tfseg": 1.0, "peer": wrong}, 1e-3)


def test_a_failing_peer_is_skipped_and_the_others_go_on(capsys):
    builds = {"tfseg": (build_adder, 1), "without": (build_without_module,)}
    workers = harness.start_workers(builds)
    try:
        assert list(workers) == ["tfseg"]
        assert (workers["tfseg"].evidence, workers["tfseg"].measure()) == (1, 2)
    finally:
        workers["tfseg"].close()
    assert ".[bench]" in capsys.readouterr().out


def build_adder(number):
    return number, lambda: number + 1


def build_without_module():
    import no_such_module  # noqa: F401
