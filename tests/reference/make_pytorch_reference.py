"""Makes `pytorch_segformer.npz`: a tiny random SegFormer with PyTorch's logits, losses, gradients.

With `pip install torch transformers`:

    python tests/reference/make_pytorch_reference.py \
        --output=tests/reference/pytorch_segformer.npz

The file holds `config`, the model's JSON; `weight/<name>` and `gradient/<name>` under PyTorch's
names, the gradient of case `even`'s loss in eval mode; and for the cases `even` and `odd` (sizes
divisible by 32 and not) `<case>/images` `[batch, height, width, 3]`, `<case>/masks` with void
pixels, `<case>/logits` `[batch, height / 4, width / 4, num_classes]` and `<case>/loss`.
"""

import io
import json

import numpy as np
from absl import app, flags
from etils import epath

NUM_CLASSES = 5
VOID = 255
SIZES = {"even": (2, 32, 64), "odd": (1, 51, 69)}


def build_model():
    """Returns the seeded model: biases are not zero, norms not one, running statistics not 0, 1."""
    import torch
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    torch.manual_seed(0)
    config = SegformerConfig(
        hidden_sizes=[4, 8, 12, 16],
        depths=[1, 2, 1, 1],
        num_attention_heads=[1, 2, 3, 4],
        mlp_ratios=[2, 2, 2, 2],
        decoder_hidden_size=16,
        num_labels=NUM_CLASSES,
        semantic_loss_ignore_index=VOID,
    )
    model = SegformerForSemanticSegmentation(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            fan_in = parameter[0].numel() if parameter.dim() > 1 else 25
            parameter += torch.randn_like(parameter) * 1.5 * fan_in**-0.5
        batch_norm = model.decode_head.batch_norm
        batch_norm.running_mean.copy_(torch.randn_like(batch_norm.running_mean))
        batch_norm.running_var.copy_(torch.rand_like(batch_norm.running_var) + 0.5)
    return model


def run_case(model, rng, batch: int, height: int, width: int):
    """Runs random images; returns the arrays of a case and the loss, which holds the graph."""
    import torch

    # Whole sixteenths are exact in float16, at half the bytes.
    images = np.round(rng.normal(size=(batch, height, width, 3)) * 16) / 16
    masks = rng.integers(0, NUM_CLASSES, (batch, height, width))
    masks[rng.random(masks.shape) < 0.2] = VOID
    channels_first = torch.from_numpy(images.astype(np.float32)).permute(0, 3, 1, 2)
    output = model(pixel_values=channels_first, labels=torch.from_numpy(masks))
    arrays = {
        "images": images.astype(np.float16),
        "masks": masks.astype(np.uint8),
        "logits": output.logits.permute(0, 2, 3, 1).detach().numpy(),
        "loss": output.loss.detach().numpy(),
    }
    return arrays, output.loss


def make_arrays() -> dict[str, np.ndarray]:
    """Returns everything the file holds, the same at every call."""
    model = build_model()
    rng = np.random.default_rng(0)
    arrays = {"config": np.array(json.dumps(model.config.to_dict()))}
    losses = {}
    for case, sizes in SIZES.items():
        case_arrays, losses[case] = run_case(model, rng, *sizes)
        arrays |= {f"{case}/{name}": array for name, array in case_arrays.items()}
    losses["even"].backward()
    arrays |= {f"weight/{name}": value.numpy() for name, value in model.state_dict().items()}
    return arrays | {f"gradient/{name}": p.grad.numpy() for name, p in model.named_parameters()}


def main(argv):
    """Writes the reference file."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected words on the command line: {argv[1:]}")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **make_arrays())
    output = epath.Path(flags.FLAGS.output)
    partial = output.with_name(f"{output.name}.partial")
    partial.write_bytes(buffer.getvalue())
    partial.replace(output)
    print(f"{output}: {len(buffer.getvalue())} bytes")


if __name__ == "__main__":
    flags.DEFINE_string("output", None, "The .npz file to write.", required=True)
    app.run(main)
