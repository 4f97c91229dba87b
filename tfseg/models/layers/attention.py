"""Efficient self-attention that computes its scores block by block."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf
from transformers.models.segformer import modeling_tf_segformer as hf
from transformers.tf_utils import shape_list

from tfseg import devices

_LEAST_SHARE = 16  # a smaller fraction of a block costs more to call than to compute


class EfficientSelfAttention(hf.TFSegformerEfficientSelfAttention):
    """Self-attention whose keys and values come from a smaller grid.

    `attend` never holds all scores. The scale is applied to the keys, which are the smallest
    tensor, instead of the scores. https://arxiv.org/abs/2105.15203, section 3.1
    """

    def call(
        self,
        hidden_states: tf.Tensor,
        height: int,
        width: int,
        output_attentions: bool = False,
        training: bool = False,
    ) -> tuple[tf.Tensor]:
        """Attends over `[batch, height * width, channels]`, keeping the shape.

        Raises:
            ValueError: `output_attentions` is set, but the whole matrix of probabilities is never
                computed.
        """
        if output_attentions:
            raise ValueError("attention in blocks gives no probabilities")
        query = self._split_heads(self.query(hidden_states))
        reduced = self._reduce(hidden_states, height, width) if self.sr_ratio > 1 else hidden_states
        key = self._split_heads(self.key(reduced) / self.sqrt_att_head_size)
        value = self._split_heads(self.value(reduced))
        if training and self.dropout.rate:
            probabilities = _probabilities(query, key)
            context = tf.matmul(self.dropout(probabilities, training=True), value)
        else:
            context = attend(query, key, value)
        return (self._merge_heads(context),)

    def _reduce(self, tokens: tf.Tensor, height: int, width: int) -> tf.Tensor:
        batch, _, channels = shape_list(tokens)
        grid = self.sr(tf.reshape(tokens, (batch, height, width, channels)))
        return self.layer_norm(tf.reshape(grid, (batch, -1, channels)))

    def _split_heads(self, tokens: tf.Tensor) -> tf.Tensor:
        heads = self.num_attention_heads
        if heads == 1:
            return tokens[:, None]
        batch, length, _ = shape_list(tokens)
        split = tf.reshape(tokens, (batch, length, heads, self.attention_head_size))
        return tf.transpose(split, (0, 2, 1, 3))

    def _merge_heads(self, context: tf.Tensor) -> tf.Tensor:
        if self.num_attention_heads == 1:
            return context[:, 0]
        batch, _, length, _ = shape_list(context)
        return tf.reshape(tf.transpose(context, (0, 2, 1, 3)), (batch, length, self.all_head_size))


def attend(query: tf.Tensor, key: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """Returns `softmax(query key^T) value` without holding all scores.

    There are as many scores as queries times keys: per layer 34 MB for two images of 512x512,
    and 0.5 GB for 1024x1024. Each block of scores is computed, used and freed, and computed again
    for the gradient, which takes no longer than reading it from memory. The result is exact,
    because a block holds all keys of its queries and so the ordinary softmax applies.
    https://arxiv.org/abs/2205.14135 does the same on a GPU.

    Args:
        query: `[batch, heads, queries, channels]`.
        key: `[batch, heads, keys, channels]`, already scaled.
        value: `[batch, heads, keys, channels]`.

    Returns:
        `[batch, heads, queries, channels]`.
    """

    @tf.custom_gradient
    def blockwise(query, key, value):
        (context,) = _map_blocks(_attend_block, (query,), (key, value), summed=0)

        def gradient(upstream):
            # The gradient of the softmax needs sum_j p_j dp_j over all scores. It equals this sum
            # over channels, which is one number per query.
            along = tf.reduce_sum(upstream * context, -1, keepdims=True)
            by_query = (query, upstream, along)
            is_cpu = devices.current_form().compiles_parts
            function = _block_gradient if is_cpu else _block_gradient_by_key
            return _map_blocks(function, by_query, (key, value), summed=2)

        return context, gradient

    return blockwise(query, key, value)


def _attend_block(query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, _) -> tuple[tf.Tensor]:
    return (tf.matmul(_probabilities(query, key), value),)


def _block_gradient(
    query: tf.Tensor,
    upstream: tf.Tensor,
    along: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    sum_dtype: tf.DType,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    probabilities = _probabilities(query, key)
    slopes = tf.matmul(upstream, value, transpose_b=True)
    to_scores = probabilities * (slopes - along)
    to_key, to_value = [
        tf.matmul(tf.cast(left, sum_dtype), tf.cast(right, sum_dtype), transpose_a=True)
        for left, right in ((to_scores, query), (probabilities, upstream))
    ]
    return tf.matmul(to_scores, key), to_key, to_value


def _block_gradient_by_key(
    query: tf.Tensor,
    upstream: tf.Tensor,
    along: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    sum_dtype: tf.DType,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Does what `_block_gradient` does, on transposed scores.

    In a program that XLA compiles as a whole, it would find the expressions of the forward pass
    again, and keep all scores until the backward pass instead of computing them again.
    """
    probabilities = tf.nn.softmax(tf.matmul(key, query, transpose_b=True), axis=-2)
    slopes = tf.matmul(value, upstream, transpose_b=True)
    to_scores = probabilities * (slopes - tf.linalg.matrix_transpose(along))
    to_key, to_value = [
        tf.matmul(tf.cast(left, sum_dtype), tf.cast(right, sum_dtype))
        for left, right in ((to_scores, query), (probabilities, upstream))
    ]
    return tf.matmul(to_scores, key, transpose_a=True), to_key, to_value


def _probabilities(query: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    return tf.nn.softmax(tf.matmul(query, key, transpose_b=True))


def _map_blocks(
    function: Callable[..., tuple[tf.Tensor, ...]],
    by_query: Sequence[tf.Tensor],
    by_key: Sequence[tf.Tensor],
    *,
    summed: int,
) -> list[tf.Tensor]:
    """Calls a function on each block of queries and the keys that belong to it.

    Args:
        function: Takes a block of each tensor, and the dtype of its sums; returns a tensor with the
            shape of a block of queries, then `summed` tensors with the shape of a block of keys,
            which have that dtype. It is float32 if several blocks add up, because parts that are
            rounded to bfloat16 before they nearly cancel leave little but the rounding.
        by_query: `[batch, heads, queries, ...]`.
        by_key: `[batch, heads, keys, channels]`.
        summed: Number of tensors that are summed over the blocks that share keys.
    """
    query_shape, key_shape = by_query[0].shape, by_key[0].shape
    layout = _choose_layout(query_shape, key_shape)
    if layout is None:
        return list(function(*by_query, *by_key, by_key[0].dtype))
    groups, parts = layout
    heads, rows = query_shape[0] * query_shape[1] // groups, query_shape[2] // parts
    split = [tf.reshape(x, (groups * parts, heads, rows, x.shape[-1])) for x in by_query]
    shared = [tf.reshape(x, (groups, heads, *key_shape[2:])) for x in by_key]
    signature = [tf.TensorSpec(split[0].shape[1:], split[0].dtype)]
    signature += [tf.TensorSpec(shared[0].shape[1:], tf.float32)] * summed

    def do_block(index: tf.Tensor) -> list[tf.Tensor]:
        block = [*(x[index] for x in split), *(x[index // parts] for x in shared)]
        return list(function(*block, tf.float32))

    first, *others = tf.map_fn(
        do_block,
        tf.range(groups * parts),
        fn_output_signature=signature,
        parallel_iterations=1,
    )
    others = [tf.reshape(x, (groups, parts, heads, *key_shape[2:])) for x in others]
    sums = [tf.cast(tf.reduce_sum(x, 1), by_key[0].dtype) for x in others]
    return [tf.reshape(first, query_shape), *(tf.reshape(x, key_shape) for x in sums)]


def _choose_layout(
    query_shape: tf.TensorShape, key_shape: tf.TensorShape
) -> tuple[int, int] | None:
    """Returns into how many groups the heads, and into how many parts their queries, are divided.

    None means a single block. Blocks must have static and equal shapes, and a number of queries
    with few divisors, such as 127 x 127, would need thousands of tiny blocks.
    """
    if not (query_shape.is_fully_defined() and key_shape.is_fully_defined()):
        return None
    limit = devices.current_form().attention_scores
    heads, queries = query_shape[0] * query_shape[1], query_shape[2]
    scores = queries * key_shape[2]
    groups = next((n for n in _divisors(heads) if heads // n * scores <= limit), heads)
    sizes = {n: heads // groups * scores // n for n in _divisors(queries)}
    least = limit // _LEAST_SHARE
    parts = next((n for n, size in sizes.items() if least <= size <= limit), 1)
    return None if groups * parts == 1 else (groups, parts)


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]
