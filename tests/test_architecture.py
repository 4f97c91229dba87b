"""The layers of the package: a module imports from lower layers only."""

import ast
import importlib.util
from pathlib import Path

import pytest

import tfseg

PACKAGE = Path(tfseg.__file__).parent

LAYERS = {
    # What everything may use: the user's error, atomic files, checks of a configuration field.
    "errors": -2,
    "files": -1,
    "validation": -1,
    "class_weights": -1,
    "config": 0,
    "config_io": 0.5,  # reads and writes config's classes
    "banded_cross_entropy": 0,
    "losses": 0.5,
    "confusion_matrix": 0,
    "metrics": 0,
    "optimizers": 0,
    "runtime": 0,
    "visualization": 0.5,
    "figures": 0.7,  # draws with visualization's colours
    "data.labels": 0,
    "data.transforms": 0.5,  # maps masks by data.labels
    "upsampled_logits": 0.7,  # resizes as data.transforms does
    "data.augmentation": 0,
    "data.sources.shapes_patterns": 0,
    "data.sources.shapes_drawing": 0.5,
    "models.layers.compilation": -1,
    "models.layers.activation": -0.5,
    "models.layers.attention": -0.5,
    "models.layers.dense": -1,
    "models.layers.depthwise": -0.5,
    "models.layers.drop_path": -0.5,
    "models.layers.dropout": -0.5,
    "models.layers.normalization": -0.5,
    "models.layers.upsampling": -0.5,
    "models.layers.decode_head": 0,
    "data.catalog": 1,
    "data.sources.folder": 1.5,
    "data.sources.hub": 1.7,  # decodes masks as data.sources.folder does
    "data.sources.shapes": 1.5,
    "data.sources.tfds": 1.5,
    "models.initializers": 1,
    "models.weights": 1,
    "models.checkpoint": 1.3,  # writes a folder around models.weights
    "models.segformer": 1.5,
    "evaluation": 1.7,
    "serving.module": 1.7,
    "serving.bundle": 1.8,
    "hub": 1,
    "callbacks": 1,
    "cli": 1.5,
    "data.pipeline": 2,
    "report": 2,
    "resolution": 2,
    "run_directory": 2,
    "train_lib": 3,
    "eval_lib": 3,
    "predict_lib": 3,
    "export_lib": 3,
    "train": 4,
    "eval": 4,
    "predict": 4,
    "export": 4,
}
ENTRIES = [name for name, layer in LAYERS.items() if layer == 4]
SLOW_TO_IMPORT = ("tensorflow_datasets", "datasets", "evaluate", "keras_cv", "matplotlib")
PROTOS = "tensorflow_serving"


def module_files():
    return [
        (".".join(path.relative_to(PACKAGE).with_suffix("").parts), path)
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.name != "__init__.py"
    ]


def imported_modules(path, *, top_level_only=False):
    """Yields dotted names of what a file imports, `from a import b` as a.b."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def tfseg_module(dotted):
    """Returns the module of this package that a dotted import names, or None."""
    parts = dotted.split(".")
    if parts[0] != "tfseg":
        return None
    for end in (len(parts), len(parts) - 1):
        name = ".".join(parts[1:end])
        if name in LAYERS:
            return name
    return None


def test_every_module_has_a_layer():
    assert sorted(name for name, _ in module_files()) == sorted(
        name for name in LAYERS if importlib.util.find_spec(f"tfseg.{name}")
    )


def test_every_layer_entry_is_a_module():
    missing = [name for name in LAYERS if importlib.util.find_spec(f"tfseg.{name}") is None]
    assert not missing


@pytest.mark.parametrize(("name", "path"), module_files())
def test_imports_go_down(name, path):
    for dotted in imported_modules(path):
        imported = tfseg_module(dotted)
        if imported is not None:
            assert LAYERS[imported] < LAYERS[name], f"{name} imports {imported}"


@pytest.mark.parametrize(("name", "path"), module_files())
def test_flags_stay_in_the_command_line_layer(name, path):
    if name != "cli" and name not in ENTRIES:
        assert not any(dotted.startswith("absl.flags") for dotted in imported_modules(path))
        assert "FLAGS" not in path.read_text()


@pytest.mark.parametrize(("name", "path"), module_files())
def test_only_models_know_transformers(name, path):
    if not name.startswith("models."):
        assert not any(dotted.split(".")[0] == "transformers" for dotted in imported_modules(path))


@pytest.mark.parametrize(("name", "path"), module_files())
def test_slow_imports_are_in_the_function_that_needs_them(name, path):
    if name == "data.sources.shapes":  # a TFDS builder, itself imported where it is needed
        return
    roots = {dotted.split(".")[0] for dotted in imported_modules(path, top_level_only=True)}
    assert not roots & {*SLOW_TO_IMPORT, PROTOS}


@pytest.mark.parametrize("name", ["cli", "config", "config_io", "data.catalog", *ENTRIES])
def test_what_help_needs_loads_no_tensorflow(name):
    seen, queue = set(), [name]
    while queue:
        current = queue.pop()
        seen.add(current)
        path = PACKAGE / (current.replace(".", "/") + ".py")
        for dotted in imported_modules(path, top_level_only=True):
            assert dotted.split(".")[0] not in ("tensorflow", "tf_keras", "transformers"), current
            imported = tfseg_module(dotted)
            if imported is not None and imported not in seen:
                queue.append(imported)


@pytest.mark.parametrize("name", ENTRIES)
def test_entry_points_are_short(name):
    tree = ast.parse((PACKAGE / f"{name}.py").read_text())
    (main,) = [node for node in tree.body if getattr(node, "name", None) == "main"]
    assert main.end_lineno - main.lineno + 1 <= 20


def test_package_init_imports_nothing_but_the_standard_library():
    roots = {name.split(".")[0] for name in imported_modules(PACKAGE / "__init__.py")}
    assert roots == {"importlib", "os"}
