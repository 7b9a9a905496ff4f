"""Cards of models: what the Hub reads, what people read, and names that would like to be more than names.

Each test names the fault it kills.
"""

import json
import os
import re
import shlex
from itertools import pairwise, product

import pytest
import yaml
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

import sijo
from sijo.checkpoints.card import Card, Metric, licence, render, write_card
from sijo.errors import SettingError

FENCED = re.compile(r"^(\s*---[\r\n]+)([\S\s]*?)([\r\n]+---(\r\n|\r|\n|$))")  # as the Hub's own library finds it
PAGE = MarkdownIt("commonmark").enable(["table", "strikethrough"])
FULL = Card(
    title="Requests by domain",
    task="text-classification",
    base_model="org/base-model",
    teacher="/home/somebody/models/teacher-large",
    labels=("travel", "banking"),
    data={"requests.csv": 1300, "more.csv": None},
    metrics=[Metric("accuracy", 0.91234, 0.88, 0.9402, 1200), ("macro F1", 0.9, None, None, 1200)],
    measured_on="held-out requests",
    settings={"run.steps": 10, "run.peak": 1e-4, "data.files": ["a.csv"], "when": None},
    licence="apache-2.0",
    base_licence="mit",
    licence_notes=["The data are CC-BY-4.0."],
    tags=("requests",),
    version="9.8.7",
)
HOSTILE = [
    "a\n---\nlicense: mit",
    "a\r---\r# owned",
    "two\n\nparagraphs\n\n<script>alert(1)</script>",
    "<script>alert(1)</script>",
    "x <!-- ",
    "<!-- x",
    "<script src=x",
    "&lt;b&gt; &#60;b&#62;",
    '"quoted": {yes: [1, *a, &b, !!python/object:os.system]}',
    "'single' \\\" back\\",
    "back\\",
    "`code` and ``more`` ```",
    "```\n# out of the fence",
    "[click](javascript:alert(1)) ![x](http://x/y.png) <http://x.y>",
    "http://x.y www.x.y me@x.y",
    "a | b | c",
    "**bold** _it_ ~~gone~~ $x$",
    "# heading",
    "- item",
    "12. item",
    "> quote",
    "    indented",
    "no",
    "1e3",
    "null",
    "~",
    "",
    " ",
    "\x00\x1b[2J\u202e\u2028\u2029\x85\ufeff\ud800",
    "네 😀 é",
    "%TAG ! x",
    "x" * 100_000,
]


def read(text):
    """The heading as a plain loader of YAML sees it, and the page's tokens."""
    found = FENCED.match(text)
    return yaml.safe_load(found[2]), PAGE.parse(text[found.end() :])


def inline(tokens):
    for token in tokens:
        yield token
        yield from inline(token.children or [])


def seen(tokens):
    """What a reader sees of a page, in one string."""
    return " ".join(token.content for token in inline(tokens) if token.type in ("text", "code_inline", "fence"))


def headings(tokens):
    return [after.content for token, after in pairwise(tokens) if token.type == "heading_open"]


def shown(name):
    """A name as it may be shown: on one line, without what does not print."""
    return " ".join("".join(c if c.isprintable() else " " for c in name).split())[:400]


def test_the_hub_reads_all_of_it():
    # kills: a field under another name, an interval for a value, a metric without what it was measured on
    heading, _ = read(render(FULL))
    assert heading == {
        "license": "apache-2.0",
        "library_name": "sijo",
        "base_model": "org/base-model",
        "pipeline_tag": "text-classification",
        "tags": ["sijo", "requests"],
        "model-index": [
            {
                "name": "Requests by domain",
                "results": [
                    {
                        "task": {"type": "text-classification"},
                        "dataset": {"name": "held-out requests", "type": "held-out-requests"},
                        "metrics": [
                            {"type": "accuracy", "name": "accuracy", "value": 0.91234},
                            {"type": "macro-f1", "name": "macro F1", "value": 0.9},
                        ],
                    }
                ],
            }
        ],
    }
    data = ModelCard(render(FULL)).data
    assert data.model_name == "Requests by domain" and data.library_name == "sijo"
    assert [(one.metric_type, one.metric_value, one.dataset_name) for one in data.eval_results] == [
        ("accuracy", 0.91234, "held-out requests"),
        ("macro-f1", 0.9, "held-out requests"),
    ]


def test_people_read_all_of_it():
    # kills: a section left out, an interval in another's row, a path of somebody's machine
    text = render(FULL)
    for words in (
        "# Requests by domain\n",
        "A model for text classification. It was made from `org/base-model`. Its teacher was `teacher-large`.",
        "It chooses among 2 labels: `travel`, `banking`.",
        "| `requests.csv` | 1,300 |\n| `more.csv` | – |",
        "On `held-out requests`, with 95 % intervals.",
        "| `accuracy` | 0.9123 | [0.88, 0.9402] | 1,200 |\n| `macro F1` | 0.9 | – | 1,200 |",
        '```\nrun.steps = 10\nrun.peak = 0.0001\ndata.files = ["a.csv"]\nwhen = null\n```',
        "- This model: apache-2.0.",
        "made from `org/base-model`, whose card names the licence `mit`.",
        "taught by `teacher-large`, whose card was not there, or names no licence.",
        "- The data are CC-BY-4.0.",
    ):
        assert words in text, words
    assert text.endswith("Made with sijo 9.8.7.\n") and "somebody" not in text
    _, tokens = read(text)
    titles = headings(tokens)
    assert titles == ["Requests by domain", "How to use it", "Data", "Measured", "Settings", "Licences"]


def test_what_is_not_known_is_left_out(tmp_path, monkeypatch):
    # kills: a licence made up, a Hub name made of a folder, a table without rows, a model-index without a value
    heading, tokens = read(render(Card(title="Bare")))
    assert heading == {"library_name": "sijo", "tags": ["sijo"]}
    assert "nobody has said under which licence" in seen(tokens) and "table_open" not in [t.type for t in tokens]
    for base in ("/home/somebody/base", "../base", "runs/x/model", "~/base", "-x", "org/base model"):
        assert "base_model" not in read(render(Card(title="x", base_model=base)))[0], base
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org/base").mkdir(parents=True)  # a folder goes before a name, as when it is opened
    heading, tokens = read(render(Card(title="x", base_model="org/base")))
    assert "base_model" not in heading and "made from `base`." in render(Card(title="x", base_model="org/base"))
    assert read(render(Card(title="x", licence="Our Terms")))[0]["license_name"] == "Our Terms"
    assert read(render(Card(title="x", licence="Our Terms")))[0]["license"] == "other"
    assert "pipeline_tag" not in read(render(Card(title="x", task="spots replaced tokens")))[0]
    nothing = Card(title="x", metrics=[("loss", float("nan"), None, float("inf"), None)])
    assert "model-index" not in read(render(nothing))[0] and "| `loss` | – | – | – |" in render(nothing)
    assert "| `tokens` | 123,456 |" in render(Card(title="x", metrics=[("tokens", 123456.4, None, None, None)]))
    many = Card(title="x", labels=[f"label {n}" for n in range(1_000)])
    assert "among 1,000 labels" in render(many) and "`label 39`, and 960 more." in render(many)


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_strangers_words_stay_words(name):
    # kills: a name that ends the heading, adds a field, becomes another type, a link, HTML, a heading, a column
    card = Card(
        title=name,
        task=name,
        base_model=name,
        teacher=name,
        labels=(name, "b"),
        data={name: 1},
        metrics=[Metric(name, 0.5, 0.4, 0.6, 10)],
        measured_on=name,
        settings={name: name, "list": [name], "odd": {"a": object}},
        licence=name,
        base_licence=name,
        teacher_licence=name,
        licence_notes=(name,),
        tags=(name,),
        version=name,
    )
    text = render(card)
    assert text.encode().decode() == text and all(letter.isprintable() or letter == "\n" for letter in text)
    assert len(text) < 30_000
    heading, tokens = read(text)
    known = {"license", "license_name", "library_name", "base_model", "tags", "model-index"}
    assert set(heading) <= known and {"license", "tags", "model-index"} <= set(heading)
    assert heading["license"] == "other" and heading["license_name"][:400] == shown(name)
    assert heading["tags"][0] == "sijo" and heading["tags"][1][:400] == shown(name)
    index = heading["model-index"][0]
    assert index["name"][:400] == shown(name) and index["results"][0]["metrics"][0]["name"][:400] == shown(name)
    assert isinstance(index["results"][0]["metrics"][0]["type"], str)
    kinds = {token.type for token in inline(tokens)}
    blocks = ("heading", "paragraph", "table", "thead", "tbody", "tr", "th", "td", "bullet_list", "list_item")
    assert kinds <= {
        *(f"{block}_{end}" for block, end in product(blocks, ("open", "close"))),
        *("inline", "text", "code_inline", "fence"),
    }
    titles = headings(tokens)
    assert titles[1:] == ["How to use it", "Data", "Measured", "Settings", "Licences"]
    assert [token.type for token in tokens].count("fence") == 3
    assert [token.type for token in tokens].count("list_item_open") == 4
    assert [token.type for token in tokens].count("td_open") == 2 + 4
    cells = [after for token, after in pairwise(tokens) if token.type == "td_open"]
    codes = [piece.content for piece in inline(tokens) if piece.type == "code_inline"]
    if name.strip() and len(name) < 400 and shown(name):
        assert [cells[0].children[0].content, cells[2].children[0].content] == [shown(name)] * 2
        assert codes.count(shown(name)) >= 6  # label, data, metric, what it was measured on, two licences
    raw = PAGE.render(text[FENCED.match(text).end() :])
    for mark in ("<script", "<b>", "<img", "<a ", "<!--", "<del>", "<em>", "<strong>", "<blockquote", "<hr"):
        assert mark not in raw, mark
    words = render(Card(title=name, task=name, licence=name, licence_notes=[name])).partition("\n---\n")[2]
    assert not re.search(r"(?<!\\)://|www\.|(?<!\\)@", words)  # bare addresses become links on the Hub


def test_every_escaped_word_reads_as_it_was():
    # kills: a note whose marks are lost or doubled on the page
    for note in HOSTILE:
        if len(note) < 1_000 and shown(note):
            tokens = PAGE.parse(render(Card(title="x", licence_notes=(note,))).partition("\n---\n")[2])
            lines = [
                "".join(piece.content for piece in token.children) for token in tokens if token.type == "inline"
            ]
            assert shown(note) in lines, (note, lines)


# --- how it is used


@pytest.mark.parametrize(
    "task", ["text-classification", "zero-shot-classification", "sentence-similarity", "fill-mask", None]
)
def test_what_the_card_says_can_be_run(task, tiny_model, tmp_path, sijo_cli, write, monkeypatch):
    # kills: a command or a call on a card that does not exist, or not for such a model
    folder = tiny_model
    if task == "text-classification":
        head = sijo.load(tiny_model, head="new:sequence-classification", labels=["a", "b"])
        folder = sijo.save(head, tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    write("input.csv", "text\nrain\nthe sea\n")
    tokens = PAGE.parse(render(Card(title="x", task=task)).partition("\n---\n")[2])
    command, python = (
        token.content.replace("path/to/model", str(folder)) for token in tokens if token.type == "fence"
    )
    ran = sijo_cli(*shlex.split(command.removeprefix("$ sijo ")))
    assert ran.code == 0, ran.err
    assert "labelled.csv" not in command or len((tmp_path / "labelled.csv").read_text().splitlines()) == 3
    exec(python, {})


# --- in a folder


def test_a_model_is_saved_with_its_card(tiny_copy, tmp_path):
    # kills: the base's card passed on as this one's, a manifest that does not know the card, a licence not asked
    theirs = "---\nlicense: cc-by-4.0\n---\n# Theirs\n"
    (tiny_copy / "README.md").write_text(theirs)
    model = sijo.load(tiny_copy)
    made = Card(title="Ours", base_model="org/theirs")
    saved = sijo.save(model, tmp_path / "ours", card=made)
    text = (saved / "README.md").read_text()
    assert "# Ours" in text and "# Theirs" not in text and "names the licence `cc-by-4.0`" in text
    assert "license" not in read(text)[0]  # theirs is not ours to give
    manifest = json.loads((saved / "manifest.json").read_text())["files"]
    assert manifest["README.md"]["bytes"] == len(text.encode())
    assert sijo.load(saved).architecture == model.architecture
    told = Card(title="Ours", base_model="org/theirs", base_licence="mit")
    assert "licence `mit`" in (sijo.save(model, tmp_path / "told", card=told) / "README.md").read_text()
    scratch = (sijo.save(model, tmp_path / "scratch", card=Card(title="Ours")) / "README.md").read_text()
    assert "cc-by" not in scratch
    assert (sijo.save(model, tmp_path / "copy") / "README.md").read_text() == theirs  # as before
    with pytest.raises(SettingError, match=r"saved already.*card="):
        write_card(saved, made)
    assert (saved / "README.md").read_text() == text and write_card(tmp_path, made).read_text().startswith("---\n")


@pytest.mark.parametrize("way", ["pipe", "link", "folder", "bytes", "lies"])
def test_a_base_whose_card_cannot_be_read(tiny_copy, tmp_path, way):
    # kills: hours of training lost at the end for somebody's card, a pipe waited on, a file outside told
    model, card = sijo.load(tiny_copy), tiny_copy / "README.md"
    match way:
        case "pipe":
            os.mkfifo(card)
        case "link":
            (tmp_path / "secret").write_text("---\nlicense: secret\n---\n")
            card.symlink_to(tmp_path / "secret")
        case "folder":
            card.mkdir()
        case "bytes":
            card.write_bytes(b"---\nlicense: \xff\xfe`|<b>\n---\n")
        case "lies":
            card.write_text('---\nlicense: "mit`\n\n# owned"\n---\n')
    saved = sijo.save(model, tmp_path / "ours", card=Card(title="Ours", base_model="org/theirs"))
    heading, tokens = read((saved / "README.md").read_text())
    assert heading == {"library_name": "sijo", "base_model": "org/theirs", "tags": ["sijo"]}
    assert "secret" not in seen(tokens) and [token.type for token in tokens].count("heading_open") == 3
    assert ("names no licence" in seen(tokens)) == (way in ("pipe", "link", "folder"))


@pytest.mark.parametrize(
    "card, name",
    [
        ("---\nlicense: mit\n---\n", "mit"),
        ("\ufeff---\r\nlicense: 'cc-by-4.0'  # of the data too\r\n---\r\n", "cc-by-4.0"),
        ("---\nlanguage: ko\nlicense:\n- mit\n- apache-2.0\n---\n", "mit, apache-2.0"),
        ("---\nlicense: [mit, bsd]\n---\n", "mit, bsd"),
        ("---\nlicense: other\nlicense_name: my-terms\nlicense_link: LICENSE\n---\n", "other: my-terms"),
        ("---\nmodel-index:\n- name: x\n  license: mit\n---\n", None),
        ("---\nlicense: mit\nlicense_name: my-terms\n---\n", "mit"),
        ("---\nlicense:\n  - mit\n---\n", "mit"),
        ("# A card\nlicense: mit\n---\n", None),
        ("---\nlicense: mit\n# A card\n", None),
        ("---\nlanguage: en\n---\nlicense: mit\n", None),
        ("---\nlicense:\n---\n", None),
        ("", None),
    ],
)
def test_the_licence_in_a_card(tmp_path, card, name):
    # kills: a line of the text taken for the heading's, a list cut to nothing, a licence of something else
    (tmp_path / "README.md").write_bytes(card.encode())
    assert licence(tmp_path) == name


def test_its_own_cards_are_read_again(tmp_path):
    # kills: a licence that we write and cannot read, which the next model's card would then not name
    for given, told in (("mit", "mit"), ("Our Terms", "other: Our Terms"), (None, None)):
        (tmp_path / "README.md").write_text(render(Card(title="x", licence=given)))
        assert licence(tmp_path) == told
