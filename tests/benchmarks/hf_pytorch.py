"""The peer in PyTorch: transformers' model, eager, in channels_last format, or compiled."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from transformers import SegformerForSemanticSegmentation

from tests.benchmarks.works import LEARNING_RATE, WEIGHT_DECAY, load_batch


def build_train_step(folder: Path, variant: str) -> Callable[[], float]:
    """Returns a function that takes one training step and returns the loss."""
    model = _load_model(folder, variant).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    batch = load_batch(folder)
    inputs = _to_channels_first(torch.from_numpy(batch["inputs"]), variant)
    masks = torch.from_numpy(batch["masks"]).long()

    def step() -> float:
        optimizer.zero_grad()
        loss = model(pixel_values=inputs, labels=masks).loss
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def build_segment(folder: Path, variant: str) -> Callable[[], np.ndarray]:
    """Returns a function that segments the batch and returns integer `[batch, height, width]`."""
    model, batch = _load_model(folder, variant).eval(), load_batch(folder)
    images, mean, std = (torch.from_numpy(batch[name]) for name in ("images", "mean", "std"))

    @torch.inference_mode()
    def segment() -> np.ndarray:
        inputs = _to_channels_first((images.float() / 255.0 - mean) / std, variant)
        logits = model(pixel_values=inputs).logits
        logits = torch.nn.functional.interpolate(logits, images.shape[1:3], mode="bilinear")
        return logits.argmax(1).numpy()

    return segment


def _load_model(folder: Path, variant: str) -> torch.nn.Module:
    torch.set_num_threads(os.cpu_count())
    model = SegformerForSemanticSegmentation.from_pretrained(folder)
    if variant == "channels_last":
        return model.to(memory_format=torch.channels_last)
    if variant == "compile":
        model.compile()
    return model


def _to_channels_first(images: torch.Tensor, variant: str) -> torch.Tensor:
    is_last = variant == "channels_last"
    memory_format = torch.channels_last if is_last else torch.contiguous_format
    return images.permute(0, 3, 1, 2).contiguous(memory_format=memory_format)
