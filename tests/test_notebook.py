"""The notebook of examples/ is executed, by the built-in model, and gives what it shows."""

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "examples"


def outputs(notebook):
    """What each cell gave, as text."""
    return ["".join(o.get("text") or o["data"]["text/plain"] for o in c.get("outputs", ())) for c in notebook.cells]


def test_the_notebook_gives_what_it_shows():
    """Catches a name the library no longer has, an example file that moved, and answers that are others now."""
    import nbformat
    from nbclient import NotebookClient

    shown = nbformat.read(FOLDER / "notebook.ipynb", as_version=4)
    nbformat.validate(shown)
    wanted = outputs(shown)
    assert sum(map(bool, wanted)) >= 5
    ran = NotebookClient(shown, timeout=280, resources={"metadata": {"path": str(FOLDER)}}).execute()
    assert outputs(ran) == wanted
