"""The recipes in flags/ parse, do not include each other, and state what was measured."""

import dataclasses
import json
import re
from pathlib import Path

import PIL.Image
import pytest
from absl import flags

from tfseg import cli
from tfseg.config import TrainConfig
from tfseg.config.train_data_section import factor_range
from tfseg.data import pipeline
from tfseg.data.catalog import get_dataset_spec
from tfseg.training import resolution

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "flags").glob("*.flags"))


def test_there_are_recipes():
    assert {"shapes_b0.flags", "oxford_iiit_pet_b0.flags"} <= {path.name for path in RECIPES}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_parses(path):
    values = flags.FlagValues()
    cli.define_train_flags(values)
    stray = values(["train", f"--flagfile={path}"])[1:]
    assert stray == []
    assert cli.config_from_flags(TrainConfig, values) != TrainConfig()


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_is_flat_and_fits_on_one_screen(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= 50
    for line in lines:
        assert line == "" or line.startswith(("# ", "--")), line
        assert not line.startswith("--flagfile")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_header_says_what_how_and_how_well(path):
    header = "\n".join(line for line in path.read_text().splitlines() if line.startswith("# "))
    assert f"--flagfile=flags/{path.name}" in header
    for word in ("Trains", "Source:", "Command:", "Hardware:", "Time:", "Mean IoU:"):
        assert word in header
    measured = re.search(r"Mean IoU: (.*)", header).group(1)
    assert measured == "not measured" or re.match(r"0\.\d{3,4} .*\d{4}-\d{2}-\d{2}", measured)


def test_the_shapes_recipe_is_the_bare_command():
    values = flags.FlagValues()
    cli.define_train_flags(values)
    values(["train", f"--flagfile={ROOT / 'flags' / 'shapes_b0.flags'}"])
    recipe = cli.config_from_flags(TrainConfig, values)
    spec = get_dataset_spec("shapes")
    resolved = [resolution.resolve_config(config, spec) for config in (recipe, TrainConfig())]
    assert resolved[0] == resolved[1]


def read_recipe(name):
    values = flags.FlagValues()
    cli.define_train_flags(values)
    values(["train", f"--flagfile={ROOT / 'flags' / name}"])
    return cli.config_from_flags(TrainConfig, values)


def test_the_guides_recipes_have_the_guides_augmentation_and_optimizer():
    pets = read_recipe("oxford_iiit_pet_guide.flags")
    scenes = read_recipe("scene_parse150_guide.flags")
    for recipe in (pets, scenes):
        assert recipe.train_data.augmentation == "basic"
        assert recipe.training.learning_rate == 6e-5
        assert recipe.training.gradient_clip_norm is None
    # tf.image.random_brightness(x, 0.1) and random_saturation(x, 0.8, 1.2); Adam at a fixed rate
    colors = pets.train_data
    assert (colors.brightness, colors.saturation, colors.hue) == (0.1, (0.8, 1.2), 0.0)
    assert factor_range(colors.contrast) == (1.0, 1.0)
    assert (pets.training.lr_schedule, pets.training.weight_decay) == ("constant", 0.0)
    # random_brightness(x, 0.25), random_contrast(x, 0.5, 2.0), random_saturation(x, 0.75, 1.25) and
    # random_hue(x, 0.1); create_optimizer: from the first rate in a line to 0
    colors = scenes.train_data
    assert (colors.brightness, colors.hue) == (0.25, 0.1)
    assert (colors.contrast, colors.saturation) == ((0.5, 2.0), (0.75, 1.25))
    assert (scenes.training.lr_schedule, scenes.training.lr_power) == ("polynomial", 1.0)
    assert (scenes.training.warmup_steps, scenes.training.weight_decay) == (0, 0.01)


def test_scenes_recipe_trains_on_data_of_its_layout(tmp_path):
    """The guide's images with their masks, of which 0 is void, in parquet files of a split."""
    from datasets import Dataset, Features, Image

    picture = PIL.Image.new("RGB", (48, 40), (200, 90, 30))
    masks = [PIL.Image.new("L", (48, 40), value) for value in (0, 1, 150, 7, 9) * 12]
    features = Features({"image": Image(), "annotation": Image()})
    rows = {"image": [picture] * len(masks), "annotation": masks}
    (tmp_path / "scene_parsing").mkdir()
    Dataset.from_dict(rows, features).to_parquet(tmp_path / "scene_parsing" / "train-0.parquet")
    names = {str(number): f"class {number}" for number in range(150)}
    (tmp_path / "names.json").write_text(json.dumps(names))
    recipe = read_recipe("scene_parse150_guide.flags")
    data = dataclasses.replace(
        recipe.data,
        dataset=f"hf:{tmp_path / 'scene_parsing'}",
        id2label=str(tmp_path / "names.json"),
    )
    spec = pipeline.get_spec(data)
    train_split = recipe.train_data.train_split
    parts = [
        pipeline.load_split(spec, data, train_split, None, is_held_out=is_held_out)
        for is_held_out in (False, True)
    ]
    assert [part.num_examples for part in parts] == [40, 10]
    values = {int(mask[0, 0]) for part in parts for mask in masks_of(part)}
    assert values == {255, 0, 149, 6, 8}


def masks_of(split):
    return [example["mask"] for example in split.examples.as_numpy_iterator()]


def stated_commands():
    texts = [path.read_text() for path in (ROOT / "flags" / "README.md", *RECIPES)]
    return re.findall(r"python -m tfseg\.train (--flagfile=[^`\n]*)", "\n".join(texts))


@pytest.mark.parametrize("arguments", stated_commands())
def test_the_commands_in_the_headers_and_the_readme_parse(arguments, monkeypatch):
    monkeypatch.chdir(ROOT)
    values = flags.FlagValues()
    cli.define_train_flags(values)
    assert values(["train", *arguments.split()])[1:] == []
    config = cli.config_from_flags(TrainConfig, values)
    if "--epochs=2" in arguments:  # the example of a flag that overrides the recipe
        assert config.training.epochs == 2
