"""The TPU benchmark counts loop bodies as often as they run, and says what it can do."""

import subprocess
import sys
from pathlib import Path

from tests.benchmarks import tpu, tpu_loops

# Three times: one addition of two arrays of 10 x 200 float32, which fill tiles of 16 x 256.
HLO = """HloModule example

body (p: (s32[], f32[10,200])) -> (s32[], f32[10,200]) {
  %p = (s32[], f32[10,200]{1,0:T(8,128)}) parameter(0)
  %x = f32[10,200]{1,0:T(8,128)} get-tuple-element(%p), index=1
  %sum = f32[10,200]{1,0:T(8,128)} add(%x, %x)
  ROOT %out = (s32[], f32[10,200]{1,0:T(8,128)}) tuple(%i, %sum)
}

condition (p: (s32[], f32[10,200])) -> pred[] {
  %p = (s32[], f32[10,200]{1,0:T(8,128)}) parameter(0)
  %limit = s32[] constant(3)
  ROOT %less = pred[] compare(%i, %limit), direction=LT
}

ENTRY main (a: f32[10,200]) -> f32[10,200] {
  %a = f32[10,200]{1,0:T(8,128)} parameter(0)
  %start = (s32[], f32[10,200]{1,0:T(8,128)}) tuple(%zero, %a)
  %loop = (s32[], f32[10,200]{1,0:T(8,128)}) while(%start), condition=%condition, body=%body
  ROOT %result = f32[10,200]{1,0:T(8,128)} get-tuple-element(%loop), index=1
}
"""


def test_bodies_of_loops_count_as_often_as_they_run():
    padded = 16 * 256 * 4
    assert tpu_loops.count_loops(HLO) == 1
    assert tpu_loops.repeated_bytes(HLO) == 2 * 3 * padded  # two inputs and an output, twice more
    known = HLO.replace("body=%body", 'body=%body, backend_config={"known_trip_count":{"n":"5"}}')
    assert tpu_loops.repeated_bytes(known) == 4 * 3 * padded


def test_a_program_without_loops_repeats_nothing():
    assert tpu_loops.count_loops(HLO.replace("while(", "call(")) == 0
    assert tpu_loops.repeated_bytes(HLO.replace("while(", "call(")) == 0


def test_rows_compare_memory_and_bytes_with_each_peer():
    costs = {
        "train": {"memory": 2e9, "bytes": 30e9},
        "serve": {"memory": 1e9, "bytes": 1e9},
        "keras_hub": {"memory": 4e9, "bytes": 36e9},
    }
    rows = tpu.compare("float32", costs)
    assert [row["work"] for row in rows] == ["memory float32", "bytes moved float32"]
    assert {row["peer"] for row in rows} == {"keras_hub"}
    assert [row["ratio"] for row in rows] == [2.0, 1.2]
    assert all(row["unit"] == "GB" and row["ratio_min"] == row["ratio"] for row in rows)


def test_help_names_the_flags():
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.tpu", "--help"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    for name in ("--environments", "--json", "--precisions", "--programs", "--batch_size"):
        assert name in done.stdout
