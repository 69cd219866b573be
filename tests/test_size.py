"""The proxy is tiny: what an upload passes through, and all of it, stays under the limits."""

import ast

from train.pack import ROOT

WAY = ("app", "api", "request", "upload", "predictor", "lane", "torchserve", "trip")


def statements(name: str, folder: str = "proxy") -> int:
    """Statements of a module, without docstrings: how its lines are broken does not matter."""
    tree = ast.parse((ROOT / folder / f"{name}.py").read_text())
    return sum(isinstance(node, ast.stmt) and not _is_text(node) for node in ast.walk(tree))


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def test_the_way_of_an_upload_is_at_most_400_statements():
    assert sum(map(statements, WAY)) <= 400
