"""What is told of a folder: `tests/app/test_inspect.py` asks by the command; here is what needs none."""

import importlib.metadata
from pathlib import Path

from sijo.checkpoints.contents import ABSENT
from sijo.models import FAMILIES

PUBLIC = Path(str(importlib.metadata.distribution("transformers").locate_file("transformers")))


def test_classes_are_those_of_transformers():
    # kills: a class named that nobody has, or one kept back that is there
    for family in FAMILIES.values():
        if family.model_type in ("GLiClass", "sijo"):  # of which transformers has no class
            continue
        module = family.model_type.replace("-", "_")
        source = (PUBLIC / "models" / module / f"modeling_{module}.py").read_text()
        fields = next(iter(family.sizes.values()))
        for name in {layout.name for layout in family.layouts(family.config.read(fields))} - {"pooler"}:
            kind = family.published([name])
            assert (f"class {kind}(" in source) == (kind not in ABSENT), kind
