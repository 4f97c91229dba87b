"""Class maps of real photographs beside PyTorch's pipeline with transformers' own processor."""

import io
import pathlib

import numpy as np
import pytest
from PIL import Image

from tfseg.models import segformer
from tfseg.serving import module

PHOTOGRAPHS = pathlib.Path("/work/shared/data/oxford_iiit_pet/images")
SIZE = (256, 256)


@pytest.mark.slow
@pytest.mark.skipif(not PHOTOGRAPHS.exists(), reason=f"no photographs in {PHOTOGRAPHS}")
def test_class_maps_of_photographs_equal_those_of_pytorch(tiny_model_dir):
    """At most 0.1 % of the pixels differ.

    The cause is Pillow, which rounds a resized image to whole levels, see
    tests/data/test_processor_parity.py. The same pixels give the same classes.
    """
    torch = pytest.importorskip("torch")
    from transformers import SegformerForSemanticSegmentation, SegformerImageProcessor

    size = {"height": SIZE[0], "width": SIZE[1]}
    processor = SegformerImageProcessor.from_pretrained(tiny_model_dir, size=size)
    peer = SegformerForSemanticSegmentation.from_pretrained(tiny_model_dir).eval()
    served = module.ServingModule(segformer.load_model(tiny_model_dir, image_size=SIZE))
    shares = []
    for path in sorted(PHOTOGRAPHS.glob("*.jpg"))[::6]:
        data = path.read_bytes()
        (png,) = served.serving_default([data])["mask_png_bytes"].numpy()
        class_map = np.asarray(Image.open(io.BytesIO(png)))
        inputs = processor(Image.open(path).convert("RGB"), return_tensors="pt")
        with torch.no_grad():
            outputs = peer(**inputs)
        (expected,) = processor.post_process_semantic_segmentation(outputs, [class_map.shape])
        assert len(np.unique(expected)) >= 2
        shares.append(np.mean(class_map != expected.numpy()))
    print(f"{len(shares)} photographs: {np.mean(shares):.5%} differ, at most {max(shares):.5%}")
    assert np.mean(shares) <= 0.001
