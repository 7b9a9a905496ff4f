"""The architectures by their published names: config fields <-> `Architecture`, tensor names <-> ours.

`FAMILIES` is the one place where a family is listed, by the `model_type` of its config.json.
"""

from sijo.models import bert
from sijo.models.family import Family

FAMILIES: dict[str, Family] = {"bert": bert.FAMILY}
