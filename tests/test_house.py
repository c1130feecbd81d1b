"""The rules of the house, kept by machine: layers, sizes, light imports, declared surfaces, docstrings."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "embedfit"
MODULES = sorted(SOURCE.rglob("*.py"))

LONGEST_FILE = 300
LONGER_FILES: dict[str, int] = {}

LONGEST_FUNCTION = 60  # lines of code; the docstring does not count
MOST_PARAMETERS = 7
MORE_PARAMETERS = {
    "api.fit": 8,  # the one function of the Python interface that stands for a whole command line
    "evaluate.scope.out_of_scope": 8,  # the arguments of `evaluate`, and what the threshold is to do
    "towers.build.build": 8,  # one argument per size of a tower
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    """`engine/loop.py` as `engine.loop`."""
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts)


def functions(path: Path) -> Iterator[tuple[str, Function, bool]]:
    """Every function of a module: its name, its node, whether the first parameter is bound."""

    def inside(node: ast.AST, prefix: str, in_class: bool) -> Iterator[tuple[str, Function, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, Function):
                static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in child.decorator_list)
                yield f"{prefix}.{child.name}", child, in_class and not static
                yield from inside(child, f"{prefix}.{child.name}", False)
            elif isinstance(child, ast.ClassDef):
                yield from inside(child, f"{prefix}.{child.name}", True)
            else:
                yield from inside(child, prefix, in_class)

    yield from inside(ast.parse(path.read_text("utf-8")), name_of(path), False)


def code_lines(node: Function) -> int:
    """Lines of a function without its docstring and decorators."""
    assert node.end_lineno is not None
    total = node.end_lineno - node.lineno + 1
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        assert first.end_lineno is not None
        total -= first.end_lineno - first.lineno + 1
    return total


def parameters(node: Function, bound: bool) -> int:
    """Parameters a caller can name; `*words` and `**more` are not counted."""
    given = node.args
    return len(given.posonlyargs) + len(given.args) + len(given.kwonlyargs) - bound


def test_imports_point_downwards_as_the_contracts_say() -> None:
    pytest.importorskip("importlinter", reason="import-linter is not installed (pip install embedfit[check])")
    root = SOURCE.parents[1]
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", code, "--config", str(root / ".importlinter"), "--no-cache"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Contracts: [1-9]\d* kept, 0 broken", done.stdout)


def test_files_are_short() -> None:
    sizes = {name_of(path): len(path.read_text("utf-8").splitlines()) for path in MODULES}
    too_long = {name: size for name, size in sizes.items() if size > LONGER_FILES.get(name, LONGEST_FILE)}
    assert too_long == {}


def test_functions_are_short() -> None:
    sizes = {name: code_lines(node) for path in MODULES for name, node, _ in functions(path)}
    assert {name: size for name, size in sizes.items() if size > LONGEST_FUNCTION} == {}


def test_functions_take_few_parameters() -> None:
    counts = {name: parameters(node, bound) for path in MODULES for name, node, bound in functions(path)}
    too_many = {name: n for name, n in counts.items() if n > MORE_PARAMETERS.get(name, MOST_PARAMETERS)}
    assert too_many == {}


def test_exceptions_are_still_needed() -> None:
    sizes = {name_of(path): len(path.read_text("utf-8").splitlines()) for path in MODULES}
    counts = {name: parameters(node, bound) for path in MODULES for name, node, bound in functions(path)}
    assert all(sizes[name] > LONGEST_FILE for name in LONGER_FILES)
    assert all(counts[name] == allowed for name, allowed in MORE_PARAMETERS.items())


def public(path: Path) -> bool:
    """Whether a module is one that others import from: not private, not a marker of a folder."""
    return not path.stem.startswith("_") or path.stem == "__init__"


@pytest.mark.parametrize("path", [p for p in MODULES if public(p)], ids=name_of)
def test_every_public_module_declares_and_explains_itself(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    assert ast.get_docstring(tree), "no docstring"
    names = [t.id for n in tree.body if isinstance(n, ast.Assign | ast.AnnAssign)
             for t in (n.targets if isinstance(n, ast.Assign) else [n.target]) if isinstance(t, ast.Name)]  # fmt: skip
    brought = [alias for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    if path.stem == "__init__" and all(a.name == a.asname for a in brought if a.name != "annotations"):
        return  # `from x import y as y` declares y; a folder without imports has nothing to declare
    assert "__all__" in names
    silent = [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_") and not ast.get_docstring(node)
    ]
    inner = {child.name for node in ast.walk(tree) if isinstance(node, Function)
             for child in ast.walk(node) if isinstance(child, Function) and child is not node}  # fmt: skip
    assert [name for name in silent if name not in inner] == []


def test_every_error_says_what_to_do() -> None:
    kinds = ("DataError", "ModelError", "RecipeError", "RunError")
    silent = [
        f"{name_of(path)}:{node.lineno}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds
        and not any(given.arg == "hint" for given in node.keywords)
    ]  # fmt: skip
    assert silent == []


def test_declared_names_exist() -> None:
    code = (
        "import importlib, pkgutil, embedfit\n"
        "for found in pkgutil.walk_packages(embedfit.__path__, 'embedfit.'):\n"
        "    if found.name.endswith('__main__'): continue\n"
        "    try: module = importlib.import_module(found.name)\n"
        "    except ModuleNotFoundError as error:\n"
        "        assert error.name in {'lightning'}, error  # optional\n"
        "        continue\n"
        "    lost = [n for n in module.__dict__.get('__all__', ()) if n not in dir(module)]\n"
        "    assert not lost, (found.name, lost)\n"
        "assert all(getattr(embedfit, name) is not None for name in embedfit.__all__)\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr


def test_importing_embedfit_loads_nothing_heavy() -> None:
    heavy = {"torch", "transformers", "polars", "numpy", "scipy", "sklearn", "faiss", "tokenizers", "pydantic",
             "pyarrow", "datasets", "jinja2", "rich"}  # fmt: skip
    code = f"import sys, embedfit; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, encoding="utf-8")
    assert done.stdout.strip() == "[]"


def test_nothing_is_pickled_and_nothing_asked_what_it_might_be() -> None:
    found = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Import(names=names) if any(
                    n.name.split(".")[0] in ("pickle", "joblib", "dill") for n in names
                ):
                    found.append((name_of(path), node.lineno, "pickle"))
                case ast.Call(func=ast.Name(id="hasattr")):
                    found.append((name_of(path), node.lineno, "hasattr"))
                case ast.Call(func=ast.Attribute(value=ast.Name(id="torch"), attr="load" | "save")):
                    found.append((name_of(path), node.lineno, "torch.load or torch.save"))
    assert found == []
