"""Examples that can be told apart, and what was read of them."""

import tensorflow as tf

from tfseg.data.labels import LabelSpec
from tfseg.data.split import Split
from tfseg.data.transforms import Preprocessing

COUNT = 10
LABELS = LabelSpec(tuple("abcdefghij"))
PREPROCESSING = Preprocessing((32, 32), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


class Source:
    """Example i has pixels 100 + 10 i, class i and its own size; `reads` lists what was read."""

    def __init__(self, count=COUNT):
        self.reads = []
        self.examples = (
            tf.data.Dataset.range(count)
            .map(self._read)
            .apply(tf.data.experimental.assert_cardinality(count))
        )

    @property
    def split(self):
        return Split("train", self.examples, len(self.examples), "digest")

    def _read(self, index):
        tf.numpy_function(lambda value: self.reads.append(int(value)), [index], [])
        size = tf.stack([40 + 2 * index, 60 - 3 * index])
        return {
            "image": tf.cast(tf.fill((*tf.unstack(size), 3), 100 + 10 * index), tf.uint8),
            "mask": tf.fill(size, tf.cast(index, tf.int32)),
            "name": tf.strings.as_string(index),
        }


class Records(Source):
    """As `Source`, but its records are numbers, which `decode` turns into examples."""

    @property
    def split(self):
        return Split("train", tf.data.Dataset.range(COUNT), COUNT, "digest", self._read)


def make_shares(num_pipelines, num_replicas):
    return [
        tf.distribute.InputContext(num_pipelines, index, num_replicas)
        for index in range(num_pipelines)
    ]
