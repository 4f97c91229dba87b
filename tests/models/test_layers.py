"""The faster layers compute what Hugging Face's layers compute from the same weights."""

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf
from transformers import SegformerConfig, TFSegformerForSemanticSegmentation
from transformers.models.segformer import modeling_tf_segformer as hf

from tfseg import devices
from tfseg.data.labels import LabelSpec
from tfseg.data.transforms import Preprocessing
from tfseg.models import checkpoint, layers
from tfseg.models.segformer import Segformer

LABELS = LabelSpec(("sky", "road", "tree", "car", "person"))
SIZES = ((64, 96), (51, 69))


def plain_name(variable):
    """Returns the name of a weight without that of the network, which Keras numbers."""
    return variable.name.split("/", 1)[1]


SHAPES = {
    "b0": {},
    "b2": {
        "hidden_sizes": [64, 128, 320, 512],
        "depths": [3, 4, 6, 3],
        "decoder_hidden_size": 768,
    },
}


@pytest.fixture(scope="module", params=["b0", pytest.param("b2", marks=pytest.mark.slow)])
def networks(request, randomize):
    """Hugging Face's network and tfseg's model with equal weights and without dropout."""
    config = SegformerConfig(
        drop_path_rate=0.0, classifier_dropout_prob=0.0, **SHAPES[request.param]
    )
    checkpoint.set_labels(config, LABELS)
    stock = TFSegformerForSemanticSegmentation(config)
    stock.build_in_name_scope()
    randomize(stock)
    model = Segformer(config, LABELS, Preprocessing((64, 64)))
    values = {plain_name(variable): variable.numpy() for variable in stock.variables}
    for variable in model.network.variables:
        variable.assign(values[plain_name(variable)])
    return stock, model


def draw_images(size, batch=2):
    return np.random.default_rng(1).normal(size=(batch, *size, 3)).astype(np.float32)


def run_stock(stock, images, training):
    logits = stock(tf.transpose(images, (0, 3, 1, 2)), training=training).logits
    return tf.transpose(logits, (0, 2, 3, 1))


def gradients(call, network):
    """Returns the gradients of a random linear function of the logits, by name of the weight."""
    with tf.GradientTape() as tape:
        logits = call()
        slopes = tf.random.stateless_normal(tf.shape(logits), (0, 3))
        value = tf.reduce_sum(logits * slopes)
    found = tape.gradient(value, network.trainable_variables)
    return {
        plain_name(variable): gradient
        for variable, gradient in zip(network.trainable_variables, found, strict=True)
    }


def to_arrays(tensors):
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def test_weights_keep_hugging_faces_names_shapes_and_trainability(networks):
    stock, model = networks
    facts = [
        {plain_name(v): (tuple(v.shape), v.trainable) for v in network.variables}
        for network in (stock, model.network)
    ]
    assert len(facts[0]) == len(stock.variables) == len(model.network.variables)
    assert facts[0] == facts[1]


@pytest.mark.parametrize("size", SIZES)
def test_quarter_logits_equal_hugging_faces(networks, size):
    stock, model = networks
    images = draw_images(size)
    expected = run_stock(stock, images, training=False).numpy()
    received = model.quarter_logits(images, training=False).numpy()
    assert received.shape == expected.shape
    np.testing.assert_allclose(received, expected, rtol=0, atol=1e-4 * expected.std())


def in_blocks(scores):
    """Asks for the form of a CPU with blocks of so many attention scores."""
    return devices.asking_for(dataclasses.replace(devices.CPU, attention_scores=scores))


@pytest.mark.parametrize(
    ("form", "size", "is_graph"),
    [
        pytest.param(
            dataclasses.replace(devices.CPU, attention_scores=1000),
            SIZES[0],
            True,
            marks=pytest.mark.slow,
        ),
        (dataclasses.replace(devices.CPU, attention_scores=1000), SIZES[1], False),
        pytest.param(devices.TPU, SIZES[0], True, marks=pytest.mark.slow),
        pytest.param(devices.TPU, SIZES[1], True, marks=pytest.mark.slow),
    ],
)
def test_gradients_of_every_weight_equal_hugging_faces(networks, form, size, is_graph, monkeypatch):
    """Runs in a graph of static shapes, as in training, and eagerly; scores fill several blocks."""
    stock, model = networks
    for network in (stock, model.network):
        # One ReLU within rounding of its kink would change single gradients by 1 %.
        monkeypatch.setattr(network.decode_head, "activation", tf.nn.softplus)
    images = draw_images(size)
    run = functools.partial(gradients, network=model.network)
    call = functools.partial(model.quarter_logits, images, training=True)
    expected = gradients(lambda: run_stock(stock, images, training=True), stock)
    with devices.asking_for(form):
        received = (tf.function(run) if is_graph else run)(call)
    expected, received = (to_arrays(part) for part in (expected, received))
    # Gradients that are zero in theory, such as the keys' biases', are rounding noise in both.
    noise = 3e-6 * max(np.abs(gradient).max() for gradient in expected.values())
    for name, gradient in expected.items():
        allowed = 1e-4 * np.abs(gradient).max() + noise
        np.testing.assert_allclose(received[name], gradient, rtol=0, atol=allowed, err_msg=name)


def test_training_moves_batch_statistics_as_hugging_face_does(networks):
    stock, model = networks
    images = draw_images(SIZES[0])
    norms = [network.decode_head.batch_norm for network in (stock, model.network)]
    before = [[variable.numpy() for variable in norm.non_trainable_variables] for norm in norms]
    expected = run_stock(stock, images, training=True).numpy()
    received = model.quarter_logits(images, training=True).numpy()
    np.testing.assert_allclose(received, expected, rtol=0, atol=1e-4 * expected.std())
    for norm, old in zip(norms, before, strict=True):
        for variable, value in zip(norm.non_trainable_variables, old, strict=True):
            assert np.abs(variable.numpy() - value).max() > 1e-3
    for mine, theirs in zip(*(norm.non_trainable_variables for norm in norms), strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-4, atol=1e-5)


def test_a_graph_of_unknown_sizes_equals_eager_execution(networks):
    _, model = networks
    signature = [tf.TensorSpec((None, None, None, 3), tf.float32)]
    traced = tf.function(model.quarter_logits, input_signature=signature)
    for size in SIZES:
        images = draw_images(size)
        expected = model.quarter_logits(images).numpy()
        np.testing.assert_allclose(traced(images).numpy(), expected, atol=1e-4 * expected.std())


@pytest.mark.parametrize("grid", [(1, 1), (5, 7)])
def test_depthwise_convolution_equals_the_grouped_one(grid, randomize):
    dim = 12
    stock, fast = hf.TFSegformerDWConv(dim), layers.DepthwiseConv(dim)
    for layer in (stock, fast):
        layer.build(None)
        randomize(layer)
    tokens = np.random.default_rng(2).normal(size=(2, grid[0] * grid[1], dim)).astype(np.float32)
    expected = stock(tokens, *grid).numpy()
    np.testing.assert_allclose(fast(tokens, *grid).numpy(), expected, rtol=1e-5, atol=1e-6)


def value_and_gradients(function, *tensors):
    """Returns value and gradients of a function in a graph of static shapes, as in training."""

    @tf.function
    def run(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        return value, *tape.gradient(value, tensors, output_gradients=tf.cos(value))

    return [part.numpy() for part in run(*tensors)]


def normal(*shape, seed=0):
    return tf.random.stateless_normal(shape, (seed, 8))


@pytest.mark.parametrize(
    ("heads", "queries", "block_scores"),
    [(2, 12, 1 << 20), (2, 12, 12 * 5), (3, 13, 13 * 5), (2, 12, 20), (1, 13, 20)],
)
def test_attention_in_blocks_equals_the_whole(heads, queries, block_scores):
    query, *key_and_value = [
        normal(2, heads, n, 4, seed=n + i) for i, n in enumerate((queries, 5, 5))
    ]

    def whole(query, key, value):
        return tf.matmul(tf.nn.softmax(tf.matmul(query, key, transpose_b=True)), value)

    with in_blocks(block_scores):
        received = value_and_gradients(layers.attend, query, *key_and_value)
    for mine, expected in zip(
        received, value_and_gradients(whole, query, *key_and_value), strict=True
    ):
        np.testing.assert_allclose(mine, expected, atol=1e-5)


def test_gradients_of_keys_and_values_add_up_over_blocks_in_float32():
    """The parts of the two halves of the queries nearly cancel, so their rounding would show."""
    query, key, value = [tf.cast(normal(1, 1, n, 8, seed=n), tf.bfloat16) for n in (256, 32, 31)]
    value = tf.pad(value, [[0, 0], [0, 0], [0, 1], [0, 0]])
    query = tf.concat([query, query], 2)
    half = normal(1, 1, 256, 8, seed=3) + 5.0
    upstream = tf.concat([half, -half + 0.1 * normal(1, 1, 256, 8, seed=4)], 2)

    def gradients_in(dtype, block_scores):
        tensors = [tf.cast(tensor, dtype) for tensor in (query, key, value)]
        rounded = tf.cast(tf.cast(upstream, tf.bfloat16), dtype)

        @tf.function
        def run(*tensors):
            with tf.GradientTape() as tape:
                tape.watch(tensors)
                context = layers.attend(*tensors)
            return tape.gradient(context, tensors[1:], output_gradients=rounded)

        with in_blocks(block_scores):
            return [tf.cast(gradient, tf.float32).numpy() for gradient in run(*tensors)]

    expected = gradients_in(tf.float32, 1 << 20)
    whole = gradients_in(tf.bfloat16, 1 << 20)
    blocks = gradients_in(tf.bfloat16, 1 << 10)
    for exact, one, many in zip(expected, whole, blocks, strict=True):
        assert np.abs(many - exact).max() < 1.2 * np.abs(one - exact).max()


def test_blocks_hold_no_more_scores_than_allowed():
    choose = layers.attention._choose_layout
    for shape in ((2, 1, 16384, 32), (2, 2, 4096, 32), (2, 5, 1024, 32), (1, 8, 256, 32)):
        groups, parts = choose(tf.TensorShape(shape), tf.TensorShape((*shape[:2], 256, 32))) or (
            1,
            1,
        )
        scores = np.prod(shape[:3]) * 256 // (groups * parts)
        assert scores <= devices.CPU.attention_scores
        assert (groups * parts == 1) == (np.prod(shape[:3]) * 256 <= 1 << 20)


@pytest.mark.parametrize("queries", [127 * 127, 16381])
def test_queries_with_few_divisors_make_no_tiny_blocks(queries):
    shapes = [tf.TensorShape((2, 1, count, 32)) for count in (queries, 256)]
    assert layers.attention._choose_layout(*shapes) == (2, 1)


def test_attention_refuses_to_give_probabilities(networks):
    block = networks[1].network.segformer.encoder.block[0][0]
    with pytest.raises(ValueError, match="no probabilities"):
        block.attention.self(normal(1, 64, block.hidden_size), 8, 8, output_attentions=True)


@pytest.mark.parametrize("form", [devices.CPU, devices.TPU])
@pytest.mark.parametrize("sizes", [[(8, 12), (4, 6), (2, 3), (1, 3)], [(7, 9), (4, 5), (2, 3)]])
def test_the_sum_of_scales_equals_resizing_each(sizes, form):
    maps = [normal(2, *size, 3, seed=index) for index, size in enumerate(sizes)]

    def resized(bias, finest, *coarser):
        return bias + finest + tf.add_n([tf.image.resize(x, sizes[0]) for x in coarser])

    def summed(bias, finest, *coarser):
        return layers.sum_upsampled(finest, coarser, bias)

    with devices.asking_for(form):
        received = value_and_gradients(summed, normal(3), *maps)
    for mine, expected in zip(
        received, value_and_gradients(resized, normal(3), *maps), strict=True
    ):
        np.testing.assert_allclose(mine, expected, atol=2e-5)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("layer", ["dense", "depthwise"])
def test_the_gradient_of_a_bias_adds_up_in_float32(layer, policy):
    """In bfloat16, TensorFlow's own gradient is wrong by a third of the largest sum."""
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        built = layers.Dense(8) if layer == "dense" else layers.DepthwiseConv(8)
        arguments = () if layer == "dense" else (128, 256)
        tokens = tf.random.stateless_normal((1, 128 * 256, 8), (1, 2))
        upstream = tf.random.stateless_normal(tokens.shape, (3, 4))

        @tf.function
        def bias_gradient():
            with tf.GradientTape() as tape:
                outputs = built(tokens, *arguments)
                total = tf.reduce_sum(tf.cast(outputs, tf.float32) * upstream)
            (bias,) = (weight for weight in built.trainable_weights if "bias" in weight.name)
            return tape.gradient(total, bias)

        built(tokens, *arguments)
        rounded = tf.cast(tf.cast(upstream, built.compute_dtype), tf.float32)
        expected = tf.reduce_sum(rounded, (0, 1))
        np.testing.assert_allclose(bias_gradient(), expected, rtol=0.01, atol=0.5)
    finally:
        tf.keras.mixed_precision.set_global_policy(before)


def test_layer_norm_and_its_gradients_equal_keras():
    values, gamma, beta = normal(2, 5, 7, seed=1) * 3.0 + 1.0, normal(7, seed=2), normal(7, seed=3)
    results = []
    for layer in (layers.LayerNorm(epsilon=1e-5), tf.keras.layers.LayerNormalization(epsilon=1e-5)):
        layer.build(values.shape)
        layer.set_weights([gamma.numpy(), beta.numpy()])

        @tf.function
        def run(values, layer=layer):
            with tf.GradientTape() as tape:
                tape.watch(values)
                outputs = layer(values)
                loss = tf.reduce_sum(tf.sin(outputs))
            return outputs, tape.gradient(loss, [values, *layer.trainable_variables])

        results.append(tf.nest.flatten(run(values)))
    for mine, expected in zip(*results, strict=True):
        np.testing.assert_allclose(mine.numpy(), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_drop_path_draws_and_scales_as_hugging_faces(training):
    examples = np.random.default_rng(3).normal(size=(64, 5, 3)).astype(np.float32)
    results = []
    for layer in (hf.TFSegformerDropPath(0.3), layers.DropPath(0.3)):
        tf.random.set_seed(4)
        results.append(layer(examples, training=training).numpy())
    np.testing.assert_allclose(results[1], results[0], rtol=1e-6)
    kept = results[1].any((1, 2))
    assert 0.5 < kept.mean() < 0.9 if training else kept.all()


@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float16])
def test_drop_path_keeps_dtype_and_mean(dtype):
    examples = tf.ones((4096, 1, 2), dtype)
    result = layers.DropPath(0.3, dtype=dtype)(examples, training=True)
    assert result.dtype == dtype
    assert set(np.unique(tf.cast(result, tf.float32))) == {0.0, float(tf.cast(1 / 0.7, dtype))}
    assert np.mean(tf.cast(result, tf.float32)) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
@pytest.mark.parametrize("shape", [(256, 64, 5), (None, None, 5)])
def test_relu_dropout_scales_kept_values_and_their_gradient(shape, dtype):
    values = tf.cast(tf.random.stateless_normal((256, 64, 5), (0, 9)), dtype)

    @tf.function(input_signature=[tf.TensorSpec(shape, dtype)])
    def value_and_gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layers.relu_dropout(x, 0.3)
        return y, tape.gradient(y, x, output_gradients=tf.sin(x))

    result, gradient = (tf.cast(each, tf.float32).numpy() for each in value_and_gradient(values))
    values = tf.cast(values, tf.float32).numpy()
    is_kept, is_positive = result > 0, values > 0
    assert not is_kept[~is_positive].any()
    assert (result >= 0).all()
    assert is_kept[is_positive].mean() == pytest.approx(0.7, abs=0.01)
    tolerance = {tf.float32: 1e-4, tf.bfloat16: 0.02}[dtype]
    np.testing.assert_allclose(result[is_kept], values[is_kept] / 0.7, rtol=tolerance)
    np.testing.assert_allclose(
        gradient, np.where(is_kept, np.sin(values) / 0.7, 0), rtol=tolerance, atol=1e-6
    )


def test_relu_dropout_draws_anew_and_again_from_the_same_seed():
    draw = tf.function(lambda: layers.relu_dropout(tf.ones((50, 3)), 0.5))

    def draw_two():
        tf.random.set_seed(4)
        return draw().numpy(), draw().numpy()

    first, second = draw_two()
    assert set(np.unique(first)) == {0, 2}
    assert not np.array_equal(first, second)
    neighbours = (first[:, 0] > 0) == (first[:, 1] > 0)  # halves of the same random word
    assert 0.2 < neighbours.mean() < 0.8
    np.testing.assert_array_equal([first, second], draw_two())


def test_the_decode_head_drops_only_in_training():
    config = SegformerConfig(hidden_sizes=[4, 6, 8, 10], classifier_dropout_prob=0.5)
    head = layers.FusedDecodeHead(config)
    features = [
        tf.random.stateless_normal((1, 16 >> stage, 16 >> stage, size), (stage, 3))
        for stage, size in enumerate(config.hidden_sizes)
    ]
    runs = {training: [head(features, training=training) for _ in "ab"] for training in (0, 1)}
    np.testing.assert_array_equal(*runs[0])
    assert not np.allclose(*runs[1])


def test_layer_norm_of_half_precision_has_float32_statistics():
    # The squares overflow float16, and bfloat16 holds three digits of the mean.
    values = np.random.default_rng(5).normal(2000, 300, size=(8, 16)).astype(np.float16)
    result = layers.LayerNorm(epsilon=1e-5, dtype="mixed_float16")(values)
    assert result.dtype == tf.float16
    expected = tf.keras.layers.LayerNormalization(epsilon=1e-5)(values.astype(np.float32))
    np.testing.assert_allclose(result.numpy(), expected.numpy(), atol=2e-3)


@pytest.mark.parametrize("is_compiled", [False, True])
@pytest.mark.parametrize("shape", [(2, 7, 3), (None, None, 3)])
def test_gelu_and_its_gradient_equal_tensorflows(shape, is_compiled):
    values = tf.random.stateless_normal((2, 7, 3), (0, 6), stddev=3.0)

    def value_and_gradient(x, function):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return y, tape.gradient(y, x, output_gradients=tf.cos(x))

    run = functools.partial(value_and_gradient, function=layers.gelu)
    if is_compiled:
        run = tf.function(run, input_signature=[tf.TensorSpec(shape, tf.float32)])
    expected = value_and_gradient(values, tf.nn.gelu)
    for mine, theirs in zip(run(values), expected, strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), atol=1e-6)


@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float16])
def test_gelu_of_half_precision_rounds_once(dtype):
    values = tf.cast(tf.random.stateless_normal((1000,), (0, 7), stddev=3.0), dtype)
    result = layers.gelu(values)
    assert result.dtype == dtype
    expected = tf.cast(tf.nn.gelu(tf.cast(values, tf.float32)), dtype)
    agree = tf.cast(result, tf.float32) == tf.cast(expected, tf.float32)
    is_tail = np.abs(values.numpy().astype(np.float32)) > 3  # `1 + erf` keeps absolute digits there
    assert np.mean(agree[~is_tail]) > 0.98
    np.testing.assert_allclose(
        *(tf.cast(each, tf.float32).numpy() for each in (result, expected)), rtol=0.02, atol=1e-6
    )


@pytest.mark.parametrize("is_compiled", [False, True])
@pytest.mark.parametrize("shape", [(2, 7, 3), (None, None, 3)])
def test_dense_of_gelu_equals_keras_dense_of_tensorflows_gelu(shape, is_compiled):
    mine, theirs = layers.GeluDense(5), tf.keras.layers.Dense(5)
    for layer in (mine, theirs):
        layer.build((None, None, 3))
    theirs.set_weights([np.cos(np.arange(15.0)).reshape(3, 5), np.arange(5.0)])
    mine.set_weights(theirs.get_weights())

    def value_and_gradients(x, function, layer):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return y, tape.gradient(y, [x, *layer.weights], output_gradients=tf.cos(y))

    run = functools.partial(value_and_gradients, function=mine, layer=mine)
    if is_compiled:
        run = tf.function(run, input_signature=[tf.TensorSpec(shape, tf.float32)])
    values = tf.random.stateless_normal((2, 7, 3), (0, 8), stddev=3.0)
    expected = value_and_gradients(values, lambda x: theirs(tf.nn.gelu(x)), theirs)
    for each, other in zip(tf.nest.flatten(run(values)), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(each.numpy(), other.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("build", "unused"),
    [
        (lambda **options: layers.Dense(4, **options), {"activation": "relu"}),
        (lambda **options: layers.Dense(4, **options), {"use_bias": False}),
        (lambda **options: layers.Dense(4, **options), {"kernel_regularizer": "l2"}),
        (lambda **options: layers.GeluDense(4, **options), {"activation": "relu"}),
        (lambda **options: layers.PointwiseConv(4, **options), {"kernel_size": 3}),
        (lambda **options: layers.PointwiseConv(4, **options), {"strides": 2}),
        (lambda **options: layers.PointwiseConv(4, **options), {"data_format": "channels_first"}),
        (lambda **options: layers.LayerNorm(epsilon=1e-5, **options), {"axis": 1}),
        (lambda **options: layers.LayerNorm(epsilon=1e-5, **options), {"center": False}),
        (lambda **options: layers.DropPath(0.1, **options), {"seed": 1}),
        (lambda **options: layers.DepthwiseConv(4, **options), {"use_bias": False}),
        (lambda **options: layers.FusedDecodeHead(SegformerConfig(), **options), {"units": 4}),
    ],
)
def test_a_layer_refuses_arguments_that_it_does_not_use(build, unused):
    assert build(name="layer").name == "layer"
    with pytest.raises(TypeError, match=next(iter(unused))):
        build(**unused)


NO_RATES = {
    "drop_path_rate": 0.0,
    "classifier_dropout_prob": 0.0,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


@pytest.mark.parametrize("rate", [None, *NO_RATES])
def test_each_rate_acts_in_training_only(rate, randomize):
    rates = NO_RATES if rate is None else {**NO_RATES, rate: 0.5}
    config = SegformerConfig(
        hidden_sizes=[4, 8, 8, 8],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 1, 1],
        decoder_hidden_size=8,
        **rates,
    )
    model = Segformer(config, LABELS, Preprocessing((32, 32)))
    randomize(model.network)
    images = draw_images((32, 32), batch=8)

    def differ(training):
        first, second = (model.quarter_logits(images, training).numpy() for _ in range(2))
        return bool((first != second).any())

    assert not differ(training=False)
    assert differ(training=True) == (rate is not None)
