"""`make pictures`: the notebook of examples/ with what its cells give, as `tests/test_notebook.py` expects it."""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "examples/notebook.ipynb"


def executed(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook, run from its first cell in a kernel of its own, without the times at which it was."""
    folder = {"metadata": {"path": str(NOTEBOOK.parent)}}
    return NotebookClient(notebook, timeout=300, record_timing=False, resources=folder).execute()


if __name__ == "__main__":
    notebook = executed(nbformat.read(NOTEBOOK, as_version=4))
    nbformat.write(notebook, NOTEBOOK)
    sys.stdout.write(f"{NOTEBOOK.name}: {len(notebook.cells)} cells\n")
