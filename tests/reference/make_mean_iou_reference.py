"""Makes `mean_iou_reference.npz`: random masks and the figures Hugging Face `evaluate` gives them.

The metric's script is `metrics/mean_iou/mean_iou.py` of github.com/huggingface/evaluate; loaded
from a local path it needs no network. With `pip install evaluate pillow`:

    python tests/reference/make_mean_iou_reference.py --mean_iou_script=mean_iou.py \
        --output=tests/reference/mean_iou_reference.npz

The file holds `cases`, a JSON object of case name -> arguments, and for each case the arrays
`<case>/predictions/<i>`, `<case>/references/<i>` and one per figure, `<case>/<figure>`.
"""

import io
import json

import numpy as np
from absl import app, flags
from etils import epath

VOID = 255


def random_case(
    rng,
    *,
    num_labels,
    sizes=((6, 7), (5, 9), (8, 4)),
    true_labels=None,
    predicted_labels=None,
    void=VOID,
    void_share=0.15,
    dtype=np.uint8,
    **arguments,
):
    """Draws maps of the given sizes; about half of the pixels are predicted right."""
    true_labels = range(num_labels) if true_labels is None else true_labels
    predicted_labels = range(num_labels) if predicted_labels is None else predicted_labels
    references, predictions = [], []
    for size in sizes:
        reference = rng.choice(list(true_labels), size)
        guess = rng.choice(list(predicted_labels), size)
        right = (rng.random(size) < 0.5) & np.isin(reference, list(predicted_labels))
        predictions.append(np.where(right, reference, guess).astype(dtype))
        references.append(np.where(rng.random(size) < void_share, void, reference).astype(dtype))
    arguments = {"num_labels": num_labels, "ignore_index": void, **arguments}
    return {"predictions": predictions, "references": references, "arguments": arguments}


def make_cases() -> dict[str, dict]:
    """Returns case name -> maps and arguments, the same at every call."""
    rng = np.random.default_rng(20)
    all_void = random_case(rng, num_labels=4)
    all_void["references"][1][:] = VOID
    reduced = {"num_labels": 4, "true_labels": range(5), "reduce_labels": True}
    return {
        "void_pixels": random_case(rng, num_labels=4),
        "no_void": random_case(rng, num_labels=3, void_share=0.0),
        "absent_classes": random_case(
            rng, num_labels=6, true_labels=(1, 2), predicted_labels=(1, 2)
        ),
        "absent_classes_as_zero": random_case(
            rng, num_labels=6, true_labels=(1, 2), predicted_labels=(1, 2), nan_to_num=0
        ),
        "predicted_never_true": random_case(rng, num_labels=4, true_labels=(0, 1, 3)),
        "true_never_predicted": random_case(rng, num_labels=4, predicted_labels=(0, 2, 3)),
        "one_image_all_void": all_void,
        "all_images_void": random_case(rng, num_labels=3, void_share=1.1),
        "one_class": random_case(rng, num_labels=1),
        "negative_void": random_case(rng, num_labels=4, void=-1, dtype=np.int32),
        "foreign_ids": random_case(
            rng,
            num_labels=4,
            true_labels=(0, 1, 2, 3, 9),
            predicted_labels=(0, 1, 2, 3, 8, 9, VOID),
        ),
        "reduce_labels": random_case(rng, **reduced),
        "reduce_labels_ignore_first_class": random_case(rng, **reduced, ignore_index=0),
        "many_classes_reduced": random_case(
            rng, num_labels=150, true_labels=range(151), reduce_labels=True, sizes=((30, 40),)
        ),
    }


def to_arrays(cases: dict[str, dict], metric) -> dict[str, np.ndarray]:
    """Scores each case with `evaluate`'s metric and lays maps and figures out flat."""
    arguments = {name: case["arguments"] for name, case in cases.items()}
    arrays = {"cases": np.array(json.dumps(arguments))}
    for name, case in cases.items():
        maps = {side: case[side] for side in ("predictions", "references")}
        for side, images in maps.items():
            arrays |= {f"{name}/{side}/{index}": image for index, image in enumerate(images)}
        figures = metric.compute(**maps, **case["arguments"])
        arrays |= {f"{name}/{key}": np.asarray(figure) for key, figure in figures.items()}
    return arrays


def main(argv):
    """Writes the reference file."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected words on the command line: {argv[1:]}")
    import evaluate

    metric = evaluate.load(flags.FLAGS.mean_iou_script)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **to_arrays(make_cases(), metric))
    output = epath.Path(flags.FLAGS.output)
    partial = output.with_name(f"{output.name}.partial")
    partial.write_bytes(buffer.getvalue())
    partial.replace(output)
    print(f"{output}: {len(buffer.getvalue())} bytes")


if __name__ == "__main__":
    flags.DEFINE_string("mean_iou_script", None, "Path of evaluate's mean_iou.py.", required=True)
    flags.DEFINE_string("output", None, "The .npz file to write.", required=True)
    app.run(main)
