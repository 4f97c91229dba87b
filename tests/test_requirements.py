"""setup.cfg names every distribution that the package imports, and no other without a reason."""

import ast
import configparser
import importlib.metadata
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
# Only checkpoints in PyTorch's pickle format need torch, and only the demo needs gradio; the error
# messages say how to install them.
OPTIONAL = {"torch": "test", "gradio": "demo"}
NEEDED_BY_OTHERS = {
    "importlib-resources": "tensorflow-datasets imports it and does not declare it",
    "tensorboard": "Keras's TensorBoard callback imports it",
    "tf-keras": "tf.keras is this package, because TF_USE_LEGACY_KERAS is set",
}


def requirements(section, option):
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config[section][option].split("\n")
    parsed = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(requirement.name): requirement for requirement in parsed}


def imported_distributions():
    """Name of a distribution -> a file of the package that imports it."""
    distributions = importlib.metadata.packages_distributions()
    found = {}
    for path in sorted((ROOT / "tfseg").rglob("*.py")):
        for name in imported_packages(path) - {"tfseg"} - sys.stdlib_module_names:
            (distribution,) = set(distributions.get(name, [name]))
            found[canonicalize_name(distribution)] = str(path)
    return found


def imported_packages(path):
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.split(".")[0])
    return names


def test_every_import_has_a_requirement():
    required = requirements("options", "install_requires")
    imported = imported_distributions()
    missing = {name: path for name, path in imported.items() if name not in required}
    assert missing.keys() == OPTIONAL.keys(), missing
    for name, extra in OPTIONAL.items():
        assert name in requirements("options.extras_require", extra)


def test_every_requirement_is_imported_or_has_a_reason():
    required = requirements("options", "install_requires").keys()
    assert required - imported_distributions().keys() == NEEDED_BY_OTHERS.keys()


def test_every_requirement_has_a_lower_bound_or_an_exact_version():
    for requirement in requirements("options", "install_requires").values():
        operators = {part.operator for part in requirement.specifier}
        assert operators & {">=", "=="}, requirement


def test_epath_comes_with_its_own_requirements():
    assert requirements("options", "install_requires")["etils"].extras == {"epath"}


def test_the_name_that_stands_for_tensorflow_on_a_tpu_fits_the_pins():
    with open(ROOT / "install" / "tpu" / "pyproject.toml", "rb") as file:
        project = tomllib.load(file)["project"]
    required = requirements("options", "install_requires")["tensorflow"]
    assert project["name"] == "tensorflow"
    assert required.specifier.contains(project["version"])
    (tensorflow,) = [each for each in project["dependencies"] if "tensorflow-tpu" in each]
    assert tensorflow == f"tensorflow-tpu=={project['version'].removesuffix('+tpu')}"


def test_tensorflow_for_gpus_has_the_same_pin():
    (gpu,) = requirements("options.extras_require", "gpu").values()
    required = requirements("options", "install_requires")["tensorflow"]
    assert (gpu.extras, gpu.specifier) == ({"and-cuda"}, required.specifier)
