"""Class maps of real photographs beside PyTorch's pipeline with transformers' own processor."""

import io
import pathlib
import sys

import numpy as np
import pytest
from PIL import Image

from tfseg.models import segformer
from tfseg.serving import module

import tensorflow as tf  # isort: skip  (after tfseg)

PHOTOGRAPHS = pathlib.Path(__file__).parents[3] / "shared/data/oxford_iiit_pet/images"


def differing_shares(folder, paths, size):
    """Returns the share of pixels that differ: of the served graph, and from the same pixels.

    For each photograph there are two figures. In the first, each side prepares the file in its own
    way; in the second, both get the pixels of transformers' processor.
    """
    import torch
    from transformers import SegformerForSemanticSegmentation, SegformerImageProcessor

    sides = {"height": size[0], "width": size[1]}
    processor = SegformerImageProcessor.from_pretrained(folder, size=sides)
    peer = SegformerForSemanticSegmentation.from_pretrained(folder).eval()
    model = segformer.load_model(folder, image_size=size)
    served, classify = module.ServingModule(model), tf.function(module.classify_pixels)
    for path in paths:
        (png,) = served.serving_default([path.read_bytes()])["mask_png_bytes"].numpy()
        ours = np.asarray(Image.open(io.BytesIO(png)))
        inputs = processor(Image.open(path).convert("RGB"), return_tensors="pt")
        with torch.no_grad():
            outputs = peer(**inputs)
        (theirs,) = processor.post_process_semantic_segmentation(outputs, [ours.shape])
        pixels = np.moveaxis(inputs["pixel_values"].numpy(), 1, -1)
        logits = module._quarter_logits(model, pixels)
        from_same = classify(logits, tf.constant(ours.shape))[0].numpy()
        assert len(np.unique(theirs)) >= 2, "a class map of one class compares nothing"
        yield np.mean(ours != theirs.numpy()), np.mean(from_same != theirs.numpy())


@pytest.mark.slow
@pytest.mark.skipif(not PHOTOGRAPHS.exists(), reason=f"no photographs in {PHOTOGRAPHS}")
def test_class_maps_of_photographs_equal_those_of_pytorch(tiny_model_dir):
    """The same pixels give the same classes, on weights whose classes are close everywhere.

    The rest is one level of 255 in few of the resized values, see tests/data/test_processor_parity.
    """
    paths = sorted(PHOTOGRAPHS.glob("*.jpg"))[::12]
    shares = np.array(list(differing_shares(tiny_model_dir, paths, (256, 256))))
    assert shares[:, 0].mean() <= 0.01
    assert shares[:, 1].max() <= 1e-4


def main():
    """Prints the figures of a model: `python -m tests.serving.test_parity_on_photographs DIR`."""
    paths = sorted(PHOTOGRAPHS.glob("*.jpg"))[::6]
    for size in ((128, 128), (512, 512)):
        shares = np.array(list(differing_shares(sys.argv[1], paths, size)))
        print(size, "mean", shares.mean(0), "largest", shares.max(0))


if __name__ == "__main__":
    main()
