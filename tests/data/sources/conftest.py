"""Data sets of Hugging Face in folders of their own."""

import datasets
import pytest


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """Keeps what `datasets` prepares out of the user's cache."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def write(tmp_path, own_cache):
    """Writes rows as `<split>.parquet` and returns the folder."""

    def write(pairs, image_key="image", mask_key="annotation", split="train", **columns):
        images, masks = zip(*pairs, strict=True)
        table = datasets.Dataset.from_dict({image_key: images, mask_key: masks, **columns})
        for key in (image_key, mask_key):
            table = table.cast_column(key, datasets.Image())
        folder = tmp_path / "parquet"
        folder.mkdir(exist_ok=True)
        table.to_parquet(folder / f"{split}.parquet")
        return str(folder)

    return write
