"""Makes `class_figures_reference.npz`: random masks and the figures scikit-learn gives them.

The pixels of all images are one list of labels, of which void ones are taken out before. With
`pip install scikit-learn absl-py`:

    python tests/reference/make_class_figures_reference.py \
        --output=tests/reference/class_figures_reference.npz

For each case the file holds `<case>/masks`, `<case>/class_maps` and one array per figure.
"""

import io
import os
import warnings

import numpy as np
from absl import app, flags

VOID = 255


def make_cases() -> dict[str, tuple[np.ndarray, np.ndarray, int]]:
    """Returns case name -> masks, class maps and number of classes, the same at every call."""
    rng = np.random.default_rng(21)
    cases = {}
    for name, num_classes, true_classes, predicted in (
        ("all_classes", 4, range(4), range(4)),
        ("absent_class", 5, (0, 1, 3), (0, 1, 3)),
        ("predicted_never_true", 4, (0, 1, 3), range(4)),
        ("true_never_predicted", 4, range(4), (0, 2, 3)),
        ("many_classes", 150, range(150), range(150)),
    ):
        shape = (3, 24, 32)
        masks = rng.choice(list(true_classes), shape)
        guesses = rng.choice(list(predicted), shape)
        is_right = (rng.random(shape) < 0.6) & np.isin(masks, list(predicted))
        class_maps = np.where(is_right, masks, guesses)
        masks = np.where(rng.random(shape) < 0.15, VOID, masks)
        cases[name] = masks.astype(np.uint8), class_maps.astype(np.uint8), num_classes
    return cases


def score(masks: np.ndarray, class_maps: np.ndarray, num_classes: int) -> dict[str, np.ndarray]:
    """Returns scikit-learn's figures; nan where one is undefined."""
    from sklearn import metrics

    valid = masks != VOID
    pair = (masks[valid], class_maps[valid])
    options = {"labels": np.arange(num_classes), "average": None}
    present = np.union1d(*pair)
    return {
        "accuracy": metrics.recall_score(*pair, **options, zero_division=np.nan),
        "dice": np.where(
            np.isin(options["labels"], present), metrics.f1_score(*pair, **options), np.nan
        ),
        "iou": np.where(
            np.isin(options["labels"], present), metrics.jaccard_score(*pair, **options), np.nan
        ),
        "mean_accuracy": metrics.balanced_accuracy_score(*pair),
        "mean_dice": metrics.f1_score(*pair, labels=present, average="macro"),
        "mean_iou": metrics.jaccard_score(*pair, labels=present, average="macro"),
        "frequency_weighted_iou": metrics.jaccard_score(*pair, average="weighted"),
        "overall_accuracy": metrics.accuracy_score(*pair),
    }


def main(argv):
    """Writes the reference file."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected words on the command line: {argv[1:]}")
    warnings.simplefilter("ignore")  # scikit-learn warns of classes that are absent
    arrays = {}
    for name, (masks, class_maps, num_classes) in make_cases().items():
        arrays |= {f"{name}/masks": masks, f"{name}/class_maps": class_maps}
        figures = score(masks, class_maps, num_classes)
        arrays |= {f"{name}/{key}": np.asarray(figure) for key, figure in figures.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    output = flags.FLAGS.output
    with open(f"{output}.partial", "wb") as file:
        file.write(buffer.getvalue())
    os.replace(f"{output}.partial", output)
    print(f"{output}: {len(buffer.getvalue())} bytes")


if __name__ == "__main__":
    flags.DEFINE_string("output", None, "The .npz file to write.", required=True)
    app.run(main)
