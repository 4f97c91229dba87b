"""The recipes in flags/ parse, do not include each other, and state what was measured."""

import re
from pathlib import Path

import pytest
from absl import flags

from tfseg import cli
from tfseg.config import TrainConfig
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
