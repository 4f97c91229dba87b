"""The rooms of the package and their order: a room imports from itself and from earlier ones."""

import ast
import graphlib
from pathlib import Path

import pytest

import tfseg

PACKAGE = Path(tfseg.__file__).parent

ROOMS = (
    "errors", "files", "network", "replicas", "devices", "config", "data", "losses", "models",
    "evaluation", "report", "inspection", "hub", "serving", "training", "cli",
)  # fmt: skip
SLOW_TO_IMPORT = (
    "tensorflow_datasets", "datasets", "evaluate", "matplotlib", "tensorflow_serving"
)  # fmt: skip


def module_name(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
MODULES = {name: path for name, path in MODULES.items() if not name.endswith("__init__")}
ENTRIES = [name for name in MODULES if "." not in name and name not in ROOMS]


def room(name):
    """Position of a module's room; the entries come after all rooms."""
    first = name.split(".")[0]
    return ROOMS.index(first) if first in ROOMS else len(ROOMS)


def imported_names(path, *, top_level_only=False):
    """Yields dotted names of what a file imports, `from a import b` as a.b."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_modules(name, **options):
    """Yields the modules of this package that a module imports; a room's door is the room."""
    for dotted in imported_names(MODULES[name], **options):
        parts = dotted.split(".")
        if parts[0] == "tfseg" and dotted not in ("tfseg", "tfseg.__version__"):
            names = (".".join(parts[1:end]) for end in range(len(parts), 1, -1))
            yield next((name for name in names if name in MODULES), parts[1])


def test_every_room_exists():
    assert all((PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").exists() for name in ROOMS)
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} <= set(ROOMS)


@pytest.mark.parametrize("name", MODULES)
def test_a_room_imports_no_later_room(name):
    for imported in imported_modules(name):
        assert room(imported) <= room(name), f"{name} imports {imported}"


def test_no_circle_inside_a_room():
    graph = {name: set(imported_modules(name)) for name in MODULES}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError with the circle


@pytest.mark.parametrize("name", MODULES)
def test_flags_stay_in_the_command_line(name):
    if name.split(".")[0] != "cli" and name not in ENTRIES:
        assert not any(dotted.startswith("absl.flags") for dotted in imported_names(MODULES[name]))
        assert "FLAGS" not in MODULES[name].read_text()


@pytest.mark.parametrize("name", MODULES)
def test_only_models_know_transformers(name):
    if not name.startswith("models."):
        roots = {dotted.split(".")[0] for dotted in imported_names(MODULES[name])}
        assert "transformers" not in roots


@pytest.mark.parametrize("name", MODULES)
def test_slow_imports_are_in_the_function_that_needs_them(name):
    # A TFDS builder and a metric of `evaluate`, themselves imported where they are needed.
    if name in ("data.sources.shapes", "evaluation.evaluate_metric"):
        return
    top_level = imported_names(MODULES[name], top_level_only=True)
    assert not {dotted.split(".")[0] for dotted in top_level} & set(SLOW_TO_IMPORT)


@pytest.mark.parametrize("name", ["data.catalog", *ENTRIES])
def test_what_help_needs_loads_no_tensorflow(name):
    seen, queue = set(), [name]
    while queue:
        current = queue.pop()
        seen.add(current)
        for dotted in imported_names(MODULES[current], top_level_only=True):
            assert dotted.split(".")[0] not in ("tensorflow", "tf_keras", "transformers"), current
        imported = imported_modules(current, top_level_only=True)
        queue += [each for each in imported if each in MODULES and each not in seen]


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*/**/__init__.py")), ids=str)
def test_a_door_holds_nothing_but_names(path):
    docstring, lazy_import, assignment = ast.parse(path.read_text()).body
    assert isinstance(docstring.value, ast.Constant)
    assert ast.unparse(lazy_import) == "from tfseg import lazy_door"
    assert ast.unparse(assignment).startswith("__getattr__ = lazy_door(__name__")


@pytest.mark.parametrize("name", ENTRIES)
def test_entry_points_are_short(name):
    tree = ast.parse(MODULES[name].read_text())
    (main,) = [node for node in tree.body if getattr(node, "name", None) == "main"]
    assert main.end_lineno - main.lineno + 1 <= 20


def test_the_package_itself_imports_nothing_but_the_standard_library():
    roots = {name.split(".")[0] for name in imported_names(PACKAGE / "__init__.py")}
    assert roots == {"importlib", "os"}
