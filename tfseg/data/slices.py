"""Which slices of the training batches a pipeline prepares, when several prepare them together."""

from __future__ import annotations

import dataclasses

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Slices:
    """The slices of one pipeline: one per batch and replica that the pipeline feeds.

    All pipelines make the same order of records. Each takes the records of its own slices from it,
    before they are decoded.

    Attributes:
        batch_size: Number of examples per batch, over all replicas.
        num_batches: Number of batches per epoch.
        first_epoch: The epoch with which the pipeline begins.
        share: Which part of every batch belongs to this training process.
        worker: Position of this input worker: it prepares every `num_workers`th slice of the share.
        num_workers: Number of input workers; 1 without a tf.data service.
    """

    batch_size: int
    num_batches: int
    first_epoch: int
    share: tf.distribute.InputContext
    worker: int = 0
    num_workers: int = 1

    @property
    def size(self) -> int:
        """Number of examples per slice."""
        return self.share.get_per_replica_batch_size(self.batch_size)

    def take(self, order: tf.data.Dataset, epoch: tf.Tensor) -> tf.data.Dataset:
        """Returns the records of the pipeline's slices in an epoch.

        Args:
            order: All records, in the order of the epoch.
            epoch: Number of the epoch, int64 scalar.

        Returns:
            Pairs of a record's position in the epoch, int64, and the record.
        """
        own = order.take(self.num_batches * self.batch_size).enumerate()
        if self.share.num_input_pipelines == self.num_workers == 1:
            return own
        return own.filter(lambda position, _: self._hold(position, epoch))

    def _hold(self, position: tf.Tensor, epoch: tf.Tensor) -> tf.Tensor:
        share_size = self.batch_size // self.share.num_input_pipelines
        batch = (epoch - self.first_epoch) * self.num_batches + position // self.batch_size
        within = position % share_size // self.size
        number = batch * (share_size // self.size) + within
        is_shared = position % self.batch_size // share_size == self.share.input_pipeline_id
        return is_shared & (number % self.num_workers == self.worker)
