"""XLA has every operation of the training, the evaluation and the served step for a GPU."""

import pytest
import tensorflow as tf

from tests import lowering
from tfseg.data.labels import LabelSpec
from tfseg.models import segformer

CLASSES = LabelSpec(tuple(f"class {index}" for index in range(150)))
LOOPS = {"training": 1, "evaluation": 0, "serving": 1}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_the_programs_lower_for_a_gpu(precision):
    model = segformer.build_model(CLASSES, (512, 512), precision=precision)
    model(tf.zeros((1, 512, 512, 3)))
    for name, (function, inputs) in lowering.programs(model, batch_size=2).items():
        text = lowering.lower(function, inputs, "GPU")
        assert text.count(" while(") <= LOOPS[name], name
        assert "convolution(" in text, name
