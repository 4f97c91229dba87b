"""Every public name of the package says what it is; functions stay short enough to read."""

import ast
from pathlib import Path

import pytest

import tfseg

PACKAGE = Path(tfseg.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
DEFINITIONS = (ast.FunctionDef, ast.ClassDef)
MAX_FUNCTION_LINES = 45
MAX_FILE_LINES = 320


def public_definitions(body, prefix=""):
    for node in body:
        if isinstance(node, DEFINITIONS) and not node.name.startswith("_"):
            yield f"{prefix}{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node.body, f"{node.name}.")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_public_names_have_docstrings(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "the module has no docstring"
    overrides = {"parse", "flag_type", "serialize"}  # absl's own methods, documented there
    for name, node in public_definitions(tree.body):
        if name == "main" or name.split(".")[-1] in overrides:
            continue
        assert ast.get_docstring(node), f"{name} has no docstring"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_stay_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_FILE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            docstring = ast.get_docstring(node, clean=False) or ""
            length = node.end_lineno - node.lineno + 1 - len(docstring.splitlines())
            assert length <= MAX_FUNCTION_LINES, f"{node.name} has {length} lines"
