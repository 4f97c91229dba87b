"""What is no exported SavedModel is refused in one line; the newest version counts."""

import json

import pytest
import tensorflow as tf

from tfseg.data.labels import LabelSpec
from tfseg.data.split import Split
from tfseg.errors import UserError
from tfseg.evaluation.saved_model_scorer import SavedModelScorer

LABELS = LabelSpec(("cat", "dog"))


class Thresholds(tf.Module):
    """Predicts class 0 where red is below a level; its classes are in another order."""

    def __init__(self, level, names):
        self.level = tf.Variable(level)
        text = json.dumps({"classes": names, "preprocessing": {"apply_exif": False}})
        self.text = tf.constant([text])

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, "images")])
    def predict_images(self, images):
        return {"class_map": tf.cast(images[..., 0] >= self.level, tf.int32)}

    @tf.function(input_signature=[])
    def describe(self):
        return {"description_json": self.text}


def save(folder, level=128, names=("dog", "cat"), signatures=("predict_images", "describe")):
    module = Thresholds(tf.constant(level, tf.uint8), list(names))
    chosen = {name: getattr(module, name) for name in signatures}
    tf.saved_model.save(module, str(folder), signatures=chosen)


def load(folder, dataset="--dataset=d"):
    return SavedModelScorer(f"saved_model:{folder}", LABELS, dataset=dataset)


def test_the_newest_version_is_scored_with_its_classes_in_order(tmp_path):
    save(tmp_path / "9", level=0)
    save(tmp_path / "10", level=128)
    (tmp_path / "temporary").mkdir()
    images = tf.constant([[[[100] * 3, [200] * 3, [200] * 3]], [[[100] * 3, [100] * 3, [0] * 3]]])
    masks = tf.constant([[[1, 0, 1]], [[255, 0, 0]]])  # dog, cat, dog; void, cat, cat
    examples = {"image": tf.cast(images, tf.uint8), "mask": masks}
    split = Split("val", tf.data.Dataset.from_tensor_slices(examples), 2, "")
    steps = []
    scorer = load(tmp_path)
    scores = scorer.score(split, steps.append)
    assert not scorer.apply_exif
    assert scores.loss is None
    assert scores.confusion.tolist() == [[1, 2], [1, 1]]
    assert [step.class_maps[0].tolist() for step in steps] == [[[1, 0, 0]], [[1, 1, 1]]]


def test_other_models_are_refused(tmp_path):
    with pytest.raises(
        UserError, match=r"no saved_model.pb is there, nor in a folder of a version"
    ):
        load(tmp_path)
    save(tmp_path / "1", signatures=("predict_images",))
    with pytest.raises(UserError, match=r"1 has no signature describe .it has predict_images"):
        load(tmp_path)
    save(tmp_path / "2", names=("cat", "cow"))
    with pytest.raises(UserError, match="cow only in the model, dog only in the data set"):
        load(tmp_path)
