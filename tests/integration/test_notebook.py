"""The notebook: runs from top to bottom, has its outputs saved, and holds no logic of its own."""

import ast
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "train" / "notebook.ipynb"


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def code_of(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_outputs_are_saved(notebook):
    cells = code_of(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(cell.outputs for cell in cells)
    assert sum("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs) >= 5
    assert NOTEBOOK.stat().st_size < 2**20


def test_no_logic_of_its_own(notebook):
    logic = ast.FunctionDef | ast.ClassDef | ast.For | ast.While | ast.If | ast.Try | ast.With | ast.Lambda
    for cell in code_of(notebook):
        source = "\n".join(line for line in cell.source.splitlines() if not line.startswith("%"))
        assert not [node for node in ast.walk(ast.parse(source)) if isinstance(node, logic)]


def test_runs_from_top_to_bottom(notebook):
    for cell in code_of(notebook):
        cell.outputs = []
    done = NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    assert all(cell.outputs for cell in code_of(done))
