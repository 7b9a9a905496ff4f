"""Topics, feelings and kinds of things out of WordNet 3.0: definitions and examples, each with one label.

domains   by the topic that lexicographers gave a meaning, near ones together
branches  the same, told apart more finely: a sport or a faith each for itself
feelings  nouns, verbs and adjectives that lie below a feeling
things    nouns that lie below a kind of thing
"""

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

Rows = list[tuple[str, ...]]
Key = tuple[str, str]
"""A synset's part of speech, n, v, a or r, and its offset."""
FEWEST = 15
"""Texts of a label; those of a feeling may be fewer."""
FEWEST_FEELINGS = 10
MOST = 250
"""Texts of a label, so that none rules."""
NOUN_FEELING, VERB_EMOTION = "12", "37"
"""Files that WordNet keeps feelings in."""
DOMAINS = {  # the first word of each synset that is a topic, by ours
    "agriculture": "farming animal_husbandry",
    "animals": "zoology animal mammal vertebrate",
    "architecture": "architecture masonry construction",
    "art": "art fine_arts",
    "astronomy": "astronomy cosmology",
    "aviation": "air_travel airplane aircraft aeronautics",
    "biology": "biology genetics microbiology microorganism bacteria organism ecology embryology",
    "body": "anatomy physiology",
    "business": "commerce commercial_enterprise corporation industry auction",
    "cars": "driving car motor_vehicle auto_racing",
    "chemistry": "chemistry biochemistry physical_chemistry solution",
    "computing": "computer_science computer programming",
    "cooking": "cooking",
    "crafts": "handicraft carpentry cabinetwork furniture",
    "crime": "crime",
    "dance": "dancing dance ballet",
    "economics": "economics stock_exchange tax finance banking investing accounting",
    "electronics": "electronics electricity",
    "games": "card_game bridge poker chess checkers game",
    "geology": "geology mining mineralogy metallurgy",
    "heraldry": "heraldry",
    "history": "antiquity Middle_Ages history archeology",
    "language": "linguistics grammar phonetics language",
    "law": "law criminal_law contract legislation",
    "literature": "literature poetry prosody writing rhetoric",
    "mathematics": "mathematics arithmetic geometry",
    "medicine": "medicine pathology surgery dentistry obstetrics ophthalmology pharmacology neurology immunology",
    "military": "military war",
    "music": "music singing",
    "mythology": "Greek_mythology Roman_mythology classical_mythology Norse_mythology mythology folklore legend "
    "Arthurian_legend",
    "philosophy": "philosophy logic",
    "photography": "photography",
    "physics": "physics optics particle_physics thermodynamics",
    "plants": "botany plant vegetation",
    "politics": "politics government election legislature",
    "printing": "printing",
    "psychology": "psychology psychiatry psychoanalysis psychophysics",
    "religion": "religion Roman_Catholic Christianity church_service Christian_theology Anglican_Church theology "
    "Old_Testament New_Testament Bible Judaism Islam Hinduism Buddhism Sikhism",
    "shipping": "seafaring ship navigation boat",
    "sport": "sport baseball softball golf football American_football soccer rugby basketball boxing tennis "
    "cricket ice_hockey field_hockey badminton squash fencing water_sport bowling",
    "statistics": "statistics",
    "telecommunications": "telecommunication telephone broadcast_medium television",
    "terrorism": "terrorism",
    "theatre": "performing_arts dramaturgy drama",
    "weather": "meteorology",
}
BRANCHES = {
    "anatomy": "anatomy",
    "antiquity": "antiquity",
    "arithmetic": "arithmetic",
    "ball games with rackets": "tennis badminton squash",
    "baseball": "baseball softball",
    "basketball": "basketball",
    "botany": "botany plant",
    "card games": "card_game bridge poker",
    "chess": "chess checkers",
    "christianity": "Roman_Catholic Christianity church_service Anglican_Church Christian_theology",
    "football": "football American_football soccer rugby",
    "genetics": "genetics",
    "geometry": "geometry",
    "golf": "golf",
    "grammar": "grammar",
    "greek mythology": "Greek_mythology",
    "hinduism": "Hinduism",
    "islam": "Islam",
    "judaism": "Judaism",
    "logic": "logic",
    "middle ages": "Middle_Ages",
    "new testament": "New_Testament",
    "norse mythology": "Norse_mythology",
    "old testament": "Old_Testament",
    "physiology": "physiology",
    "poetry": "poetry prosody",
    "psychiatry": "psychiatry psychoanalysis",
    "roman mythology": "Roman_mythology",
    "surgery": "surgery dentistry obstetrics",
    "zoology": "zoology animal mammal",
}
"""Those within a topic; a topic that has none of them is its own branch."""
FEELINGS = {  # nouns, verbs and adjectives that head a cluster; what is below them is of the feeling
    "anger": ("anger", "anger rage begrudge", "angry"),
    "calm": ("calmness", "calm comfort", "calm composed"),
    "desire": ("desire", "desire", "desirous"),
    "despair": ("despair", "despair discourage", "hopeless"),
    "disgust": ("disgust repugnance", "disgust repel", "disgusted"),
    "enthusiasm": ("enthusiasm", "excite", "enthusiastic eager"),
    "fear": ("fear", "fear frighten", "afraid"),
    "gratitude": ("gratitude", "", "grateful"),
    "hatred": ("hate", "hate", "hateful hostile"),
    "hope": ("hope", "", "hopeful"),
    "joy": ("joy happiness", "gladden rejoice", "happy elated cheerful joyous joyful"),
    "love": ("love affection", "love", "loving"),
    "pride": ("pride", "pride", "proud"),
    "sadness": ("sadness", "sadden grieve mourn", "sad sorrowful dejected unhappy"),
    "shame": ("shame embarrassment", "embarrass shame", "ashamed"),
    "surprise": ("astonishment", "surprise", "surprised"),
    "sympathy": ("sympathy", "sympathize", "sympathetic"),
    "worry": ("anxiety", "worry", "anxious"),
}
THINGS = {  # nouns whose kinds are of it
    "birds": "bird",
    "buildings": "building",
    "celestial bodies": "celestial_body constellation",
    "chemicals": "chemical_element chemical_compound",
    "cities": "city",
    "clothes": "clothing garment footwear hat",
    "dances": "dance dancing",
    "diseases": "disease",
    "drinks": "beverage",
    "drugs": "drug",
    "fish": "fish",
    "food": "dish baked_goods foodstuff",
    "fruit": "edible_fruit",
    "furniture": "furniture",
    "insects": "insect",
    "languages": "natural_language",
    "mammals": "mammal",
    "money": "money monetary_unit coin",
    "mountains": "mountain",
    "musical instruments": "musical_instrument",
    "musicians": "musician composer",
    "politicians": "head_of_state politician",
    "religious people": "religious_person clergyman",
    "reptiles": "reptile amphibian",
    "rivers": "river lake",
    "scientists": "scientist",
    "ships": "ship boat",
    "sports": "sport",
    "tools": "tool",
    "trees": "tree",
    "vehicles": "wheeled_vehicle aircraft",
    "weapons": "weapon",
    "weather": "weather",
    "writers": "writer poet",
}
NOTE = re.compile(
    r"^\((?!(?:of|used|usually|often|sometimes|especially|formerly|figurative|followed|plural)\b)[^)]{3,40}\)\s*"
)
"""In front of a definition, where WordNet names the domain that is to be found."""


class Synset(NamedTuple):
    """A meaning."""

    words: tuple[str, ...]
    file: str
    head: bool
    """Whether it is no satellite of another adjective."""
    pointers: tuple[tuple[str, Key], ...]
    gloss: str


def synsets(folder: Path) -> dict[Key, Synset]:
    """All meanings of a folder of WordNet's data files."""
    read = {}
    for part in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{part}").read_text(encoding="utf-8").splitlines():
            head, bar, gloss = line.partition(" | ")
            if not bar or line.startswith("  "):
                continue
            fields = head.split()
            after = 4 + 2 * int(fields[3], 16)
            links = fields[after + 1 : after + 1 + 4 * int(fields[after])]
            pointers = [
                (links[at], (links[at + 2].replace("s", "a"), links[at + 1])) for at in range(0, len(links), 4)
            ]
            words = tuple(word.partition("(")[0] for word in fields[4:after:2])
            kind = fields[2]
            key = kind.replace("s", "a"), fields[0]
            read[key] = Synset(words, fields[1], kind != "s", tuple(pointers), gloss.strip())
    return read


def told(gloss: str) -> str:
    """A definition and its first two examples as one text, without the domain; "" where it says too little.

    >>> told('(nautical) toward the stern; "go `aft\\'"; ')
    "Toward the stern. Go 'aft'."
    """
    words = gloss.replace("`", "'")
    defined = re.split(r'[;:]?\s*"', words, maxsplit=1)[0].strip(" ;:")
    defined = NOTE.sub("", defined)
    examples = re.findall(r'"([^"]+)"', words)[:2]
    if len(f"{defined} {' '.join(examples)}".split()) < 4:
        return ""
    sentences = [one.strip() for one in (defined, *examples) if one.strip()]
    return " ".join(one[0].upper() + one[1:] + ("" if one[-1] in ".!?" else ".") for one in sentences)


def labelled(read: Mapping[Key, Synset], seed: int) -> dict[str, Rows]:
    """All four sets, each text with its label."""
    return {make.__name__: make(read, seed) for make in (domains, branches, feelings, things)}


def domains(read: Mapping[Key, Synset], seed: int) -> Rows:
    """Texts by topic."""
    return _by_domain(read, {word: code for code, words in DOMAINS.items() for word in words.split()}, seed)


def branches(read: Mapping[Key, Synset], seed: int) -> Rows:
    """Texts by finer topics: none of a topic as a whole that also has finer ones."""
    fine = {word: code for code, words in BRANCHES.items() for word in words.split()}
    for code, words in DOMAINS.items():
        if not any(word in fine for word in words.split()):
            fine.update(dict.fromkeys(words.split(), code))
    return _by_domain(read, fine, seed)


def _by_domain(read: Mapping[Key, Synset], code_of: Mapping[str, str], seed: int) -> Rows:
    def found() -> Iterator[tuple[str, str]]:
        for synset in read.values():
            topics = [read[key].words[0] for mark, key in synset.pointers if mark == ";c"]
            codes = {code_of.get(topic, "") for topic in topics}
            if len(codes) == 1 and codes != {""}:
                yield synset.gloss, codes.pop()

    return _kept(found(), FEWEST, seed)


def feelings(read: Mapping[Key, Synset], seed: int) -> Rows:
    """Texts by feeling."""
    kinds = _kinds(read)

    def found() -> Iterator[tuple[str, str]]:
        for code, (nouns, verbs, adjectives) in FEELINGS.items():
            for key, synset in read.items():
                word = synset.words[0]
                if (
                    (key[0] == "n" and synset.file == NOUN_FEELING and word in nouns.split())
                    or (key[0] == "v" and synset.file == VERB_EMOTION and word in verbs.split())
                    or (key[0] == "a" and key in kinds and word in adjectives.split())
                ):
                    for one in _below(key, kinds):
                        yield read[one].gloss, code

    return _kept(found(), FEWEST_FEELINGS, seed)


def things(read: Mapping[Key, Synset], seed: int) -> Rows:
    """Texts by the kind of thing that they define."""
    kinds = _kinds(read)
    by_word = defaultdict(list)
    for key, synset in read.items():
        if key[0] == "n":
            for word in synset.words:
                by_word[word].append(key)

    def found() -> Iterator[tuple[str, str]]:
        for code, words in THINGS.items():
            for word in words.split():  # of several meanings the one with most kinds
                for one in max((_below(key, kinds) for key in by_word[word]), key=len):
                    yield read[one].gloss, code

    return _kept(found(), FEWEST, seed)


def _kinds(read: Mapping[Key, Synset]) -> dict[Key, list[Key]]:
    """Of each synset those right below it: kinds, instances, and the adjectives that are like it."""
    kinds: dict[Key, list[Key]] = defaultdict(list)
    for key, synset in read.items():
        for mark, other in synset.pointers:
            if mark in ("@", "@i") or (mark == "&" and not synset.head):
                kinds[other].append(key)
    return kinds


def _below(key: Key, kinds: Mapping[Key, list[Key]]) -> list[Key]:
    """A synset and all below it."""
    reached, waiting = {key: None}, [key]
    while waiting:
        for kind in kinds.get(waiting.pop(), ()):
            if kind not in reached:
                reached[kind] = None
                waiting.append(kind)
    return list(reached)


def _kept(pairs: Iterable[tuple[str, str]], fewest: int, seed: int) -> Rows:
    """Of glosses and codes the text, the code and the meaning, as the nouns by file have it: each text of one label
    once, of labels with enough of them, and no more of a label than MOST.
    """
    codes: dict[str, set[str]] = defaultdict(set)
    meanings: dict[str, str] = {}
    for gloss, code in pairs:
        if text := told(gloss):
            codes[text].add(code)
            meanings[text] = gloss.partition(";")[0].strip()
    by_code: dict[str, list[str]] = defaultdict(list)
    for text in sorted(codes):
        if len(codes[text]) == 1:
            by_code[min(codes[text])].append(text)
    rng = random.Random(seed)
    return [
        (text, code, meanings[text])
        for code, texts in sorted(by_code.items())
        if len(texts) >= fewest
        for text in sorted(rng.sample(texts, min(MOST, len(texts))))
    ]
