"""Weights of every layout load, compared with PyTorch's and TensorFlow's own models."""

import json

import numpy as np
import pytest
import tensorflow as tf
from transformers import SegformerConfig, TFSegformerForSemanticSegmentation

from tfseg.data.labels import LabelSpec
from tfseg.errors import UserError
from tfseg.models import segformer, weights

LABELS = LabelSpec(("sky", "road", "tree", "car", "person"))
OTHER_LABELS = LabelSpec(("pet", "background", "outline"))


def channels_first(images):
    import torch

    return torch.from_numpy(images).permute(0, 3, 1, 2)


def pytorch_logits(model, images):
    import torch

    with torch.no_grad():
        return model.eval()(pixel_values=channels_first(images)).logits.permute(0, 2, 3, 1).numpy()


@pytest.fixture(scope="module")
def images(reference):
    return reference["even/images"].astype(np.float32)


@pytest.fixture(scope="module")
def expected_logits(reference):
    return reference["even/logits"]


def encoder_arrays(model):
    return {
        variable.name.split("/", 1)[1]: variable.numpy()
        for variable in model.network.segformer.variables
    }


def assert_one_line(error, *parts):
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_a_float16_checkpoint_loads_as_float32(
    write_folder, reference_state, images, expected_logits, tmp_path
):
    state = {
        name: array.astype(np.float16) if array.dtype == np.float32 else array
        for name, array in reference_state.items()
    }
    model = segformer.load_model(str(write_folder(tmp_path / "half", state)))
    assert {variable.dtype for variable in model.network.variables} == {tf.float32}
    np.testing.assert_allclose(model.quarter_logits(images).numpy(), expected_logits, atol=0.02)


@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "h5"])
def test_tensorflow_folders_load(reference, randomize, images, tmp_path, safe):
    config = SegformerConfig.from_dict(json.loads(str(reference["config"])))
    stock = TFSegformerForSemanticSegmentation(config)
    stock.build_in_name_scope()
    randomize(stock)
    stock.save_pretrained(tmp_path, safe_serialization=safe)
    expected = stock(tf.transpose(images, (0, 3, 1, 2)), training=False).logits.numpy()
    weight_file = "model.safetensors" if safe else "tf_model.h5"
    assert (tmp_path / weight_file).exists()
    model = segformer.load_model(str(tmp_path))
    received = model.quarter_logits(images).numpy().transpose(0, 3, 1, 2)
    np.testing.assert_allclose(received, expected, atol=1e-5)
    fresh_head = segformer.build_model(OTHER_LABELS, (32, 64), init_from=str(tmp_path))
    assert fresh_head.quarter_logits(images).shape[-1] == 3
    for name, array in encoder_arrays(fresh_head).items():
        np.testing.assert_array_equal(array, encoder_arrays(model)[name], err_msg=name)


def test_a_tensorflow_classifier_gives_its_encoder(reference, randomize, tmp_path):
    from transformers import TFSegformerForImageClassification

    config = SegformerConfig.from_dict(json.loads(str(reference["config"])))
    classifier = TFSegformerForImageClassification(config)
    classifier.build_in_name_scope()
    randomize(classifier)
    classifier.save_pretrained(tmp_path, safe_serialization=False)
    model = segformer.build_model(LABELS, (32, 64), init_from=str(tmp_path))
    expected = encoder_arrays(model)
    assert len(expected) > 50
    for variable in classifier.segformer.variables:
        name = variable.name.split("/", 1)[1]
        np.testing.assert_array_equal(expected[name], variable.numpy(), err_msg=name)
    with pytest.raises(UserError) as error:
        segformer.load_model(str(tmp_path))
    assert_one_line(error, "decode_head.")


def test_another_class_count_gets_a_fresh_classifier_and_keeps_the_rest(reference_dir, images):
    model = segformer.build_model(OTHER_LABELS, (32, 64), init_from=str(reference_dir))
    original = segformer.load_model(str(reference_dir))
    fresh, kept = (weights.pytorch_state(each.network) for each in (model, original))
    assert fresh["decode_head.classifier.weight"].shape == (3, 16, 1, 1)
    assert 0 < np.abs(fresh["decode_head.classifier.weight"]).max() < 0.1
    for name in kept.keys() - {"decode_head.classifier.weight", "decode_head.classifier.bias"}:
        np.testing.assert_array_equal(fresh[name], kept[name], err_msg=name)
    assert model.quarter_logits(images).shape == (2, 8, 16, 3)
    assert model.network.config.num_labels == 3


def test_the_same_class_count_keeps_the_classifier(reference_dir, images, expected_logits):
    model = segformer.build_model(LABELS, (32, 64), init_from=str(reference_dir))
    np.testing.assert_allclose(model.quarter_logits(images).numpy(), expected_logits, atol=1e-4)
    assert model.labels == LABELS


def test_a_damaged_safetensors_file_is_refused(reference_dir, tmp_path):
    (tmp_path / "config.json").write_text((reference_dir / "config.json").read_text())
    whole = (reference_dir / "model.safetensors").read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"\xff" * 100):
        (tmp_path / "model.safetensors").write_bytes(damaged)
        with pytest.raises(UserError) as error:
            segformer.load_model(str(tmp_path))
        assert_one_line(error, str(tmp_path / "model.safetensors"), "damaged")


def test_a_damaged_h5_file_is_refused(reference_dir, tmp_path):
    (tmp_path / "config.json").write_text((reference_dir / "config.json").read_text())
    (tmp_path / "tf_model.h5").write_bytes(b"\x89HDF\r\n\x1a\n half a file")
    with pytest.raises(UserError) as error:
        segformer.load_model(str(tmp_path))
    assert_one_line(error, str(tmp_path), "damaged")


def test_a_folder_without_weights_is_refused(reference_dir, tmp_path):
    (tmp_path / "config.json").write_text((reference_dir / "config.json").read_text())
    with pytest.raises(UserError) as error:
        segformer.load_model(str(tmp_path))
    assert_one_line(error, "model.safetensors", "tf_model.h5", "pytorch_model.bin")


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_sizes": [4, 8, 12, 32]},
        {"decoder_hidden_size": 32},
        # As many numbers in another shape, which a reshape would accept.
        {"patch_sizes": [7, 3, 3, 3], "hidden_sizes": [8, 4, 12, 16]},
        {"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}},
    ],
)
def test_a_config_of_another_size_than_the_weights_is_refused(
    write_folder, reference_state, tmp_path, changes
):
    changes["num_attention_heads"] = [1, 1, 1, 1]
    folder = write_folder(tmp_path / "mixed", reference_state, **changes)
    with pytest.raises(UserError) as error:
        segformer.load_model(str(folder))
    assert_one_line(error, str(folder), "config.json")


def test_more_blocks_than_the_weights_have_is_refused(write_folder, reference_state, tmp_path):
    folder = write_folder(tmp_path / "deep", reference_state, depths=[1, 2, 1, 2])
    for use in (
        lambda: segformer.load_model(str(folder)),
        lambda: segformer.build_model(LABELS, (32, 64), init_from=str(folder)),
    ):
        with pytest.raises(UserError) as error:
            use()
        assert_one_line(error, "lacks", "block.3.1")


class TestPyTorch:
    """PyTorch opens what tfseg saves, and tfseg opens what PyTorch saves."""

    @pytest.fixture(autouse=True)
    def torch(self):
        return pytest.importorskip("torch")

    @pytest.fixture
    def pytorch_model(self, torch, reference_dir):
        from transformers import SegformerForSemanticSegmentation

        return SegformerForSemanticSegmentation.from_pretrained(reference_dir)

    def test_a_b0_saved_here_opens_there_with_equal_logits(self, tmp_path):
        from transformers import SegformerForSemanticSegmentation

        model = segformer.build_model(OTHER_LABELS, (64, 64), seed=3)
        norm = model.network.decode_head.batch_norm
        norm.moving_mean.assign(np.linspace(-1, 1, 256))
        norm.moving_variance.assign(np.linspace(0.5, 2, 256))
        segformer.save_model(model, str(tmp_path))
        other, info = SegformerForSemanticSegmentation.from_pretrained(
            tmp_path, output_loading_info=True
        )
        assert not any(info.values()), info
        assert other.config.id2label == OTHER_LABELS.id2label
        images = np.random.default_rng(0).normal(size=(1, 64, 96, 3)).astype(np.float32)
        received = pytorch_logits(other, images)
        np.testing.assert_allclose(received, model.quarter_logits(images).numpy(), atol=1e-5)

    def test_every_weight_keeps_pytorchs_name_shape_and_dtype(self, pytorch_model, reference_dir):
        network = segformer.load_model(str(reference_dir)).network
        saved = weights.pytorch_state(network)
        expected = {name: value.numpy() for name, value in pytorch_model.state_dict().items()}
        assert saved.keys() == expected.keys()
        for name, array in expected.items():
            assert saved[name].dtype == array.dtype, name
            np.testing.assert_array_equal(saved[name], array, err_msg=name)

    def test_a_folder_saved_there_opens_here(self, pytorch_model, images, tmp_path):
        pytorch_model.save_pretrained(tmp_path)
        received = segformer.load_model(str(tmp_path)).quarter_logits(images).numpy()
        np.testing.assert_allclose(received, pytorch_logits(pytorch_model, images), atol=1e-5)

    def test_pytorch_model_bin_opens(self, pytorch_model, torch, images, expected_logits, tmp_path):
        pytorch_model.config.save_pretrained(tmp_path)
        torch.save(pytorch_model.state_dict(), tmp_path / "pytorch_model.bin")
        received = segformer.load_model(str(tmp_path)).quarter_logits(images).numpy()
        np.testing.assert_allclose(received, expected_logits, atol=1e-4)

    @pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "bin"])
    def test_bfloat16_opens(self, pytorch_model, torch, images, expected_logits, tmp_path, safe):
        model = pytorch_model.to(torch.bfloat16)
        model.save_pretrained(tmp_path)
        if not safe:
            (tmp_path / "model.safetensors").unlink()
            torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
        received = segformer.load_model(str(tmp_path)).quarter_logits(images).numpy()
        np.testing.assert_allclose(received, expected_logits, atol=0.15)

    @pytest.mark.parametrize("kind", ["SegformerForImageClassification", "SegformerModel"])
    def test_an_encoder_alone_starts_a_model(self, torch, reference, tmp_path, kind):
        import transformers

        torch.manual_seed(1)
        config = SegformerConfig.from_dict(json.loads(str(reference["config"])))
        config.num_labels = 1000
        encoder = getattr(transformers, kind)(config)
        encoder.save_pretrained(tmp_path)
        model = segformer.build_model(LABELS, (32, 64), init_from=str(tmp_path))
        saved = weights.pytorch_state(model.network)
        prefix = "" if kind == "SegformerForImageClassification" else "segformer."
        compared = 0
        for name, value in encoder.state_dict().items():
            if not name.startswith("classifier."):
                np.testing.assert_array_equal(saved[prefix + name], value.numpy(), err_msg=name)
                compared += 1
        assert compared > 50
        assert saved["decode_head.classifier.weight"].shape == (5, 16, 1, 1)
        with pytest.raises(UserError) as error:
            segformer.load_model(str(tmp_path))
        assert_one_line(error, "lacks", "decode_head.", str(tmp_path))

    def test_a_damaged_pickle_is_refused(self, reference_dir, tmp_path):
        (tmp_path / "config.json").write_text((reference_dir / "config.json").read_text())
        (tmp_path / "pytorch_model.bin").write_bytes(b"PK\x03\x04 no archive")
        with pytest.raises(UserError) as error:
            segformer.load_model(str(tmp_path))
        assert_one_line(error, "pytorch_model.bin", "damaged")
