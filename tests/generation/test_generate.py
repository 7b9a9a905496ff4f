"""What a type checker knows of `sijo.generate`."""

import re
from pathlib import Path

from mypy import api

import sijo

USE = """
import sijo
from sijo.generation.generator import generate

prompts: tuple[str, ...] = ("a", "b")
reveal_type(sijo.generate("model"))
reveal_type(sijo.generate("model", "a", temperature=0.7, stop=["b"], penalty_rule="sign_aware"))
reveal_type(sijo.generate("model", "a", stream=False))
reveal_type(sijo.generate("model", ["a", "b"], control_code="c"))
reveal_type(sijo.generate("model", prompts))
reveal_type(sijo.generate("model", "a", stream=True, seed=3))
reveal_type(sijo.generate("model", "a", stream=len(prompts) > 2))
reveal_type(generate("model", prompts))
sijo.generate("model", prompts, stream=True)
sijo.generate("model", "a", temprature=1)
"""
TYPES = ["str", "str", "str", "list[str]", "list[str]", "Iterator[str]", "str | Iterator[str]", "list[str]"]


def test_a_type_checker_knows_what_is_returned(tmp_path, monkeypatch):
    """mypy --strict over a user's file, beside this very package; torch is not followed, to be quick."""
    # kills: an overload that is missing or in the wrong order, a name that `import sijo` gives as Any, an option
    # that the overloads have forgotten or do not check
    (tmp_path / "sijo").symlink_to(Path(sijo.__file__).parent)
    (tmp_path / "mypy.ini").write_text("[mypy]\nfollow_imports = silent\n[mypy-torch.*]\nfollow_imports = skip\n")
    (tmp_path / "user.py").write_text(USE)
    monkeypatch.chdir(tmp_path)
    printed, trouble, _ = api.run(["--strict", "--config-file=mypy.ini", "user.py"])
    revealed = re.findall(r'Revealed type is "(.*)"', re.sub(r"(builtins|typing|collections\.abc)\.", "", printed))
    wrong = [USE.splitlines()[int(line) - 1] for line in re.findall(r"user\.py:(\d+): error", printed)]
    assert revealed == TYPES and not trouble, printed
    assert {*wrong} == {*USE.splitlines()[-2:]}, printed
