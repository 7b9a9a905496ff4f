"""`sijo report`: a run in training, or several beside each other, as one HTML file to look at and to send.

Curves, cost, settings, and texts with what the networks made of them. The file needs nothing but itself:
no script, no font, no address. What comes from a run's files is escaped, for `tag` lets nothing else
through. A run under way or interrupted is drawn as far as it has come.
"""

import io
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.util import find_spec
from itertools import accumulate, pairwise
from pathlib import Path
from statistics import median
from typing import Any

from sijo.app.pretrain import spoken
from sijo.errors import SettingError, TextError
from sijo.files.atomic import whole_file
from sijo.files.json_files import read_object
from sijo.files.paths import present
from sijo.training.journal import FILES, read_lines
from sijo.version import __version__

Numbers = tuple[list[float], list[float]]
"""Steps, and a value at each."""
Form = Callable[[float], str]
"""How a value is written."""

STYLE = Path(__file__).with_suffix(".css")
COLOURS = 6
"""Of runs in one report, `--run1` to `--run6` in the style sheet."""
INK, FAINT, *RUNS = (f"#a0b0{number:02x}" for number in range(2 + COLOURS))
"""Stand-ins that curves are drawn with; the style sheet's colours are put in their place."""
POINTS = 600
"""Of a curve; a longer one keeps the lowest and the highest of each stretch."""
SMOOTHED = 40
"""Parts of a run; a smoothed curve looks one of them far."""
SHOWN = 4
"""Texts of a run, spread over it, the newest first."""
LONGEST = 160
"""Letters of a setting that are shown."""
SUSPECTED = 0.5
"""The probability from which a token counts as spotted."""
PARTS = {"mlm": "masked tokens", "sop": "sentence order", "clm": "next token", "rtd": "replaced tokens"}
KNOWN = ("step", "samples", "tokens", "lr", "gradient_norm", "loss")
"""What stands in a line of metrics besides the parts of the loss."""
SPECIAL = re.compile(r"\[[A-Z]+\]|<[^<>\s]+>")
STARTS = ("▁", "Ġ")
"""With which a token begins a word, where there are such."""


class Html(str):
    """Markup, which is not escaped again."""

    __slots__ = ()


def tag(name: str, *inside: str, **attributes: object) -> Html:
    """An element; whatever is put in it is escaped, unless it is `Html`.

    >>> tag("p", "1 < 2", tag("b", "!"), class_="sum", title='"')
    '<p class="sum" title="&quot;">1 &lt; 2<b>!</b></p>'
    """
    said = "".join(f' {key.rstrip("_")}="{escape(str(value))}"' for key, value in attributes.items())
    return Html(f"<{name}{said}>{joined(inside)}</{name}>")


def joined(parts: Iterable[str]) -> Html:
    """Parts one after another, escaped likewise."""
    return Html("".join(part if isinstance(part, Html) else escape(part) for part in parts))


# --- what is read


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What the files of a run say."""

    name: str
    folder: Path
    settings: Mapping[str, Any]
    metrics: Sequence[Mapping[str, Any]]
    timings: Sequence[Mapping[str, Any]]
    examples: Sequence[Mapping[str, Any]]
    parameters: Mapping[str, int]
    """Of each network."""
    state: str
    """How far it is, in words."""


def run(folders: Sequence[Path], out: Path | None) -> None:
    """Draw the report of these runs, and print where it is."""
    if not folders:
        raise SettingError("name the folder of a run: sijo report RUN")
    if len(folders) > COLOURS:
        raise SettingError(f"{len(folders)} runs in one report could not be told apart; name at most {COLOURS}")
    if len(folders) > 1 and out is None:
        raise SettingError("a report of several runs needs a place of its own: --out FILE.html")
    out = out or folders[0] / "report.html"
    if out.suffix.lower() not in (".html", ".htm"):
        raise SettingError(f"--out {out} must end in .html, for that is what is written")
    if find_spec("matplotlib") is None:
        raise SettingError('drawing needs matplotlib: pip install "sijo[plot]"')
    alike = len({folder.resolve().name for folder in folders}) < len(folders)
    runs = [read(folder, str(folder) if alike else folder.resolve().name) for folder in folders]
    if not out.parent.is_dir():
        raise SettingError(f"--out {out} cannot be written: there is no folder {out.parent}")
    text = page(runs)
    with whole_file(out) as file:
        file.write(text.encode("utf-8", "replace"))  # half of a surrogate pair is no letter
    print(out)  # noqa: T201


def read(folder: Path, name: str) -> RunRecord:
    """What there is of a run, and what it is called; SettingError where there is none."""
    if not any((folder / name).is_file() for name in ("settings.json", *FILES)):
        raise SettingError(
            f"{folder} holds no run: neither settings.json nor metrics.jsonl is there; name the folder that "
            "sijo pretrain was given as --out"
        )
    settings = present(folder, "settings.json")
    metrics, timings, examples = (read_lines(folder / name) for name in FILES)
    done = any((folder / name / "config.json").is_file() for name in ("model", "discriminator"))
    return RunRecord(
        name=name,
        folder=folder,
        settings={} if settings is None else read_object(settings),
        metrics=metrics,
        timings=timings,
        examples=examples,
        parameters=parameters(folder / "checkpoints"),
        state="finished" if done else "under way, or interrupted" if metrics else "just begun",
    )


def parameters(checkpoints: Path) -> dict[str, int]:
    """How many weights each network of a run has, as the head of the newest checkpoint's file tells."""
    from safetensors import SafetensorError, safe_open

    counts: dict[str, int] = {}
    for file in sorted(checkpoints.glob("step-*/weights.safetensors"))[-1:]:
        try:
            with safe_open(file, framework="numpy") as tensors:
                for name in tensors.keys():  # noqa: SIM118 (it is no dict)
                    network = name.partition(".")[0]
                    counts[network] = counts.get(network, 0) + math.prod(tensors.get_slice(name).get_shape())
        except (OSError, SafetensorError):  # cleared away this moment, or damaged: `--resume` will tell
            return {}
    return counts


def numbers(lines: Sequence[Mapping[str, Any]], key: str) -> Numbers:
    """The steps at which there is a number of this name, and the numbers."""
    found = [(line.get("step"), line.get(key)) for line in lines]
    pairs = [pair for pair in found if all(isinstance(one, int | float) for one in pair)]
    return [step for step, _ in pairs], [value for _, value in pairs]  # type: ignore[misc]


# --- the page


def page(runs: Sequence[RunRecord]) -> str:
    """The whole file."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    head = (
        Html('<meta charset="utf-8">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("title", ", ".join(one.name for one in runs), " · sijo"),
        tag("style", Html(STYLE.read_text(encoding="utf-8"))),
    )
    told = [section("Texts" if len(runs) == 1 else f"Texts of {one.name}", *texts(one)) for one in runs]
    body = (
        *(header(one, number, several=len(runs) > 1) for number, one in enumerate(runs, 1)),
        section("Curves", curves(runs)),
        *told,
        section("Settings", settings(runs)),
        tag("footer", f"Drawn by sijo {__version__} from the run’s own files."),
    )
    return f'<!doctype html>\n<html lang="en">{tag("head", *head)}{tag("body", *body)}</html>\n'


def section(title: str, *inside: str) -> Html:
    """A part of the page; says so where there is nothing in it."""
    return tag("section", tag("h2", title), *(inside if any(inside) else [tag("p", "nothing yet", class_="soft")]))


def header(one: RunRecord, number: int, *, several: bool) -> Html:
    """The run's name, how far it is, and what it has cost."""
    dot = [tag("i", class_="dot", style=f"background:var(--run{number})")] if several else []
    recipe = one.settings.get("recipe")
    state = f"recipe {recipe}, {one.state}" if recipe else one.state
    tiles = [tag("div", tag("dt", name), tag("dd", value)) for name, value in cost(one)]
    told = tag("dl", *tiles) if tiles else tag("p", "nothing yet", class_="soft")
    return tag("header", tag("h1", *dot, one.name), tag("p", state, class_="soft"), told)


def cost(one: RunRecord) -> Iterator[tuple[str, str]]:
    """What a run has come to, and what it took."""
    counts: dict[str, Form] = {"step": whole, "samples": human, "tokens": human}
    for key, form in counts.items():
        if values := numbers(one.metrics, key)[1]:
            yield "steps" if key == "step" else key, form(values[-1])
    if seconds := numbers(one.timings, "seconds")[1]:
        yield "time", spoken(seconds[-1])
    for key, (title, form) in SPEEDS.items():
        if values := numbers(one.timings, key)[1]:
            yield title, form(median(values))
    for network, count in one.parameters.items():
        yield "parameters" if len(one.parameters) == 1 else f"parameters, {network}", human(count)


def settings(runs: Sequence[RunRecord]) -> Html:
    """Every setting by its path; where runs differ in one, it is marked."""
    leaves = [dict(flat(one.settings)) for one in runs]
    groups: dict[str, list[Html]] = {}
    for path in dict.fromkeys(path for one in leaves for path in one):
        values = [one.get(path, "–") for one in leaves]
        group, dot, rest = path.partition(".")
        differs = {"class_": "differs"} if len(set(values)) > 1 else {}
        row = tag("tr", tag("th", rest or group, scope="row"), *(tag("td", value) for value in values), **differs)
        groups.setdefault(group if dot else "", []).append(row)
    dots = [tag("td", tag("i", class_="dot", style=f"background:var(--run{n})")) for n, _ in enumerate(runs, 1)]
    top = [tag("tr", tag("th"), *dots)] if len(runs) > 1 else []
    tables = [tag("table", tag("caption", group), *top, *rows) for group, rows in groups.items()]
    cards = [tag("div", one, class_="card") for one in tables]
    return tag("div", *cards, class_="tables") if cards else Html()


def flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as paths and words."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from flat(inner, f"{path}.{name}" if path else name)
        return
    words = ", ".join(map(str, value)) if isinstance(value, list) else "–" if value is None else str(value)
    yield path, words if len(words) <= LONGEST else words[: LONGEST - 1] + "…"


def three(value: float) -> str:
    """Three digits."""
    return f"{value:.3g}"


def whole(value: float) -> str:
    """No fraction."""
    return f"{value:,.0f}"


def percent(value: float) -> str:
    """A share in hundredths."""
    return f"{100 * value:.3g} %"


def human(count: float) -> str:
    """A count in few signs.

    >>> human(64_000), human(999_999), human(13_548_000)
    ('64,000', '1.00 M', '13.5 M')
    """
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if count >= 0.9995 * size:
            return f"{count / size:#.3g} {letter}"
    return whole(count)


SPEEDS: dict[str, tuple[str, Form]] = {
    "tokens_per_second": ("tokens a second", whole),
    "matmul_share": ("share of matmul peak", percent),
}


# --- curves


def curves(runs: Sequence[RunRecord]) -> Html:
    """A drawing of each number that any of the runs has, those of all runs in it."""
    keys = dict.fromkeys(key for one in runs for line in one.metrics[-1:] for key in line)
    parts = [key for key in keys if key not in KNOWN and not key.endswith("_right")]
    rights = [key for key in keys if key.endswith("_right")]
    losses = {part: (f"loss, {PARTS.get(part, part)}", three) for part in parts}
    told = losses | ({"loss": ("loss, weighted sum", three)} if len(parts) != 1 else {})
    told |= {right: (f"answered right, {PARTS.get(right[:-6], right[:-6])}", percent) for right in rights}
    told |= {"lr": ("learning rate", three), "gradient_norm": ("gradient norm", three)} | SPEEDS
    figures = []
    for key, (title, form) in told.items():
        series = [numbers(one.timings if key in SPEEDS else one.metrics, key) for one in runs]
        if any(steps for steps, _ in series):
            drawn = drawing(series, form, from_zero=key in (*rights, *SPEEDS), smooth=key != "lr")
            last = [
                tag("b", form(smoothed(values)[-1]), style=f"color:var(--run{number})")
                for number, (_, values) in enumerate(series, 1)
                if values
            ]
            figures.append(tag("figure", tag("figcaption", tag("span", title), tag("span", *last)), drawn))
    if not figures:
        return Html()
    legend = tag("p", "By step. Faint: each mean that was logged; strong: their moving average.", class_="soft")
    return joined([legend, tag("div", *figures, class_="figures")])


def smoothed(values: Sequence[float]) -> list[float]:
    """A mean that looks both ways, with weights that fade over a fortieth of the run; at its end it looks back.

    >>> [round(value, 9) for value in smoothed([3.0, 3.0, 3.0])]
    [3.0, 3.0, 3.0]
    """
    keep = 1 - 1 / max(1.0, len(values) / SMOOTHED)

    def faded(some: Sequence[float]) -> list[float]:
        return list(accumulate(some, lambda total, value: keep * total + value))

    ones = faded([1.0] * len(values))
    sums = zip(faded(values), faded(values[::-1])[::-1], values, ones, ones[::-1], strict=True)
    return [(before + after - value) / (one + other - 1) for before, after, value, one, other in sums]


def thinned(steps: Sequence[float], values: Sequence[float]) -> Numbers:
    """A curve of at most `POINTS`: of each stretch its lowest and its highest, in order, so that a spike stays.

    A single point is given twice: a line of no length, whose round ends are a dot.
    """
    if len(steps) == 1:
        return [*steps, *steps], [*values, *values]
    if len(steps) <= POINTS:
        return list(steps), list(values)
    stretches = POINTS // 2
    edges = [len(steps) * number // stretches for number in range(stretches + 1)]
    kept = []
    for start, end in pairwise(edges):
        inside = range(start, end)
        kept += sorted({min(inside, key=values.__getitem__), max(inside, key=values.__getitem__)})
    return [steps[place] for place in kept], [values[place] for place in kept]


def drawing(series: Sequence[Numbers], form: Form, *, from_zero: bool, smooth: bool) -> Html:
    """Curves as SVG in the page's colours: each number faint, their moving average, or they again, over it."""
    import matplotlib as mpl
    from matplotlib import style
    from matplotlib.figure import Figure  # not pyplot, which keeps state and may look for a screen
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    fixed: Any = {"svg.fonttype": "none", "font.size": 8, "axes.edgecolor": FAINT, "grid.color": FAINT}
    fixed |= {"xtick.color": INK, "ytick.color": INK}
    with style.context("default"), mpl.rc_context(fixed):
        figure = Figure(figsize=(4.2, 2.3), layout="constrained")
        axes = figure.subplots()
        for (steps, values), colour in zip(series, RUNS, strict=False):
            like: Any = {"color": colour, "solid_capstyle": "round"}
            axes.plot(*thinned(steps, values), linewidth=0.9, alpha=0.3, **like)
            main = smoothed(values) if smooth else values
            axes.plot(*thinned(steps, main), linewidth=4 if len(steps) == 1 else 1.5, **like)
        if from_zero:
            axes.set_ylim(bottom=0)
        axes.grid(axis="y", linewidth=0.6)
        axes.tick_params(length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}" if step % 1 == 0 else ""))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: form(value)))
        figure.savefig(out := io.StringIO(), format="svg", transparent=True)
    return themed(out.getvalue())


def themed(svg: str) -> Html:
    """matplotlib's SVG as a part of the page: in its colours and type, with no size, date or chance names."""
    svg = re.sub(r"<(metadata|defs)>.*?</\1>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r' (?:xmlns(?::xlink)?|version|width|height|id|clip-path)="[^"]*"|font-family: [^;]*; ', "", svg)
    for colour, name in ((INK, "soft"), (FAINT, "line"), *((run, f"run{n}") for n, run in enumerate(RUNS, 1))):
        svg = svg.replace(colour, f"var(--{name})")
    return Html(svg)


# --- texts


def texts(one: RunRecord) -> Iterator[Html]:
    """Some texts of a run, and what was made of them."""
    last = len(one.examples) - 1
    places = sorted({last - last * number // max(SHOWN - 1, 1) for number in range(SHOWN)} if last >= 0 else ())
    for place in reversed(places):
        try:
            yield (spotted if one.examples[place]["objective"] == "rtd" else guessed)(one.examples[place])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TextError(
                f"line {place + 1} of {one.folder / FILES[2]} is no example of a run ({error!r}); remove it"
            ) from None


def guessed(example: Mapping[str, Any]) -> Html:
    """A text with the tokens that were asked for, and what was guessed where it was wrong."""
    right = wrong = 0
    words: list[str] = []
    rows = zip(*(example[name] for name in ("truth", "text", "asked", "guess")), strict=True)
    for space, (truth, text, asked, guess) in zip(spaces(example["truth"]), rows, strict=True):
        words.append(" " if space else "")
        if not asked:
            words.append(plain(truth))
        elif guess == truth:
            right += 1
            words.append(tag("span", bare(truth), class_="good", title=f"read as {text}, guessed right"))
        else:
            wrong += 1
            about = f"read as {text}, guessed {guess}"
            words.append(tag("ruby", bare(truth), tag("rt", bare(guess)), class_="bad", title=about))
    legend = (
        tag("span", f"{right} guessed right", class_="good"),
        tag("span", f"{wrong} not, with the guess above", class_="bad"),
    )
    return text_card(example, legend, words)


def spotted(example: Mapping[str, Any]) -> Html:
    """A text in which tokens were replaced, with which of them were spotted."""
    kinds = {
        (True, True): ("good", "replaced and spotted"),
        (True, False): ("bad", "replaced and missed"),
        (False, True): ("odd", "original and suspected"),
        (False, False): ("calm", "original and trusted"),
    }
    counts = dict.fromkeys(kinds, 0)
    words: list[str] = []
    rows = zip(*(example[name] for name in ("text", "truth", "replaced", "spotted")), strict=True)
    for space, (text, truth, replaced, probability) in zip(spaces(example["text"]), rows, strict=True):
        words.append(" " if space else "")
        kind = bool(replaced), probability >= SUSPECTED
        counts[kind] += 1
        name, about = kinds[kind]
        title = f"{about}: {percent(probability)} likely to be replaced"
        if replaced:
            words.append(
                tag("ruby", bare(text), tag("rt", bare(truth)), class_=name, title=f"{title}; was {truth}")
            )
        else:
            words.append(
                tag("span", bare(text), class_=f"{name} special" if is_special(text) else name, title=title)
            )
    legend = [tag("span", f"{counts[kind]} {about}", class_=name) for kind, (name, about) in kinds.items()]
    return text_card(example, legend, words)


def text_card(example: Mapping[str, Any], legend: Iterable[str], words: Iterable[str]) -> Html:
    """A text with its step and what its colours mean."""
    title = tag("h3", f"step {example['step']:,}, {PARTS.get(example['objective'], example['objective'])}")
    legend = joined(part for one in legend for part in (one, " "))
    return tag("article", title, tag("p", legend, class_="legend"), tag("p", *words, class_="text", dir="auto"))


def plain(token: str) -> Html:
    """A token of which there is nothing to say."""
    return tag("span", token, class_="special") if is_special(token) else Html(escape(bare(token)))


def is_special(token: str) -> bool:
    """Whether a token is no part of the text, such as [SEP]."""
    return SPECIAL.fullmatch(token) is not None


def bare(token: str) -> str:
    """A token without the signs that say how it is joined to others.

    >>> bare("##ing"), bare("▁sea"), bare("un@@"), bare("##")
    ('ing', 'sea', 'un', '##')
    """
    shown = token[2:] if token.startswith("##") else token[1:] if token.startswith(STARTS) else token
    return shown.removesuffix("@@") or token


def spaces(tokens: Sequence[str]) -> Iterator[bool]:
    """Whether there is a space before each token, told by the signs of WordPiece, Unigram and BPE.

    >>> list(spaces(["[CLS]", "sail", "##ing"])), list(spaces(["▁sail", "ing", "</s>"])), list(spaces(["a@@", "b"]))
    ([False, True, False], [False, False, True], [False, False])
    """
    marked = any(token.startswith(STARTS) for token in tokens)
    for place, token in enumerate(tokens):
        if place == 0 or token.startswith("##") or tokens[place - 1].endswith("@@"):
            yield False
        else:
            yield not marked or token.startswith(STARTS) or is_special(token)
