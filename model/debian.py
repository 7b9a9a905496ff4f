"""What Debian's packages are for, as people tagged them: descriptions in English and Korean, with one tag each."""

import random
import re
from collections import Counter, defaultdict

from packages import Packages
from zero_shot_sets import descriptions, masked, teaches

Rows = list[tuple[str, ...]]
FACETS = {"fields": "field", "uses": "use", "games": "game", "works": "works-with"}
"""Groups of tags, by what we call the set."""
NOISE = {"scanning", "storing", "browsing", "typesetting", "TODO"}
"""Tags that mean too many things to be told from a description."""
EMPTY = re.compile("transitional|dummy package|더미 패키지|과도기|전환 패키지", re.IGNORECASE)
"""Packages that stand for others and say nothing of themselves."""
OF_ONE_SOURCE = 3
"""Packages of one source and tag that are taken: parts of a program are described nearly alike."""
ALIKE = 15
"""Descriptions of a tag that are taken with the same two words at the start, such as the modules of a platform."""
FEWEST, MOST = 25, 400
"""Texts of a tag: with fewer it is left out, and of more so many are drawn, so that none rules."""


def tagged(packages: Packages, seed: int) -> dict[str, Rows]:
    """Descriptions that teach, by set and language, such as uses and uses.ko.

    A package with several tags of a facet is left out of it; finer ones, as software:source, count as software.
    """
    codes: dict[str, dict[str, tuple[str, str]]] = {name: {} for name in FACETS}
    taken: Counter[tuple[str, ...]] = Counter()
    for entry in packages.apt_list("Packages").split("\n\n"):
        fields = dict(re.findall(r"^(Package|Source|Tag|Description-md5): (.*(?:\n[ \t].*)*)", entry, re.MULTILINE))
        if "Tag" in fields and "Description-md5" in fields and teaches(fields["Description-md5"]):
            tags = [tag.strip().partition("::") for tag in fields["Tag"].split(",")]
            for name, facet in FACETS.items():
                own = {tag.partition(":")[0] for kind, _, tag in tags if kind == facet}
                if len(own) != 1 or own & NOISE or fields["Description-md5"] in codes[name]:
                    continue
                code = own.pop()
                source = name, code, fields.get("Source", fields["Package"]).partition(" ")[0]
                taken[source] += 1
                if taken[source] <= OF_ONE_SOURCE:
                    codes[name][fields["Description-md5"]] = code, fields["Package"]
    tables: dict[str, Rows] = {}
    for name, coded in codes.items():
        common = {code for code, texts in Counter(code for code, _ in coded.values()).items() if texts >= FEWEST}
        for language in ("en", "ko"):
            by_code: dict[str, set[str]] = defaultdict(set)
            begins: Counter[tuple[str, ...]] = Counter()
            for digest, text in descriptions(packages, language):
                code, package = coded.get(digest, ("", ""))
                begins[code, *text.split()[:2]] += code in common
                if code in common and not EMPTY.search(text) and begins[code, *text.split()[:2]] <= ALIKE:
                    by_code[code].add(masked(text, package))
            rng = random.Random(seed)
            tables[name if language == "en" else f"{name}.{language}"] = [
                (text, code)
                for code, texts in sorted(by_code.items())
                for text in sorted(rng.sample(sorted(texts), min(MOST, len(texts))))
            ]
    return tables
