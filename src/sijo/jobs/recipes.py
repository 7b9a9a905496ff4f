"""Recipes by name: the published settings of each paper, and a `-tiny` of each for two cores and a coffee.

A recipe is a value of `RunSettings`, so whatever it says can be changed by path. Where a paper and its
released code differ, the paper's table goes before, and docs/pretraining.md tells the difference.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

from sijo.checkpoints.describe import describe
from sijo.data.samples import SampleSettings
from sijo.jobs.run_settings import RunSettings, TeacherSettings, TokenizerSettings
from sijo.jobs.student import distilbert_of, half_as_deep
from sijo.models import published
from sijo.nn.architecture import Architecture, DropoutRates, Sinusoidal
from sijo.objectives.language_teacher import Teaching
from sijo.objectives.masking import Masking
from sijo.objectives.settings import ObjectiveSettings
from sijo.training.optimizers import OptimizerSettings
from sijo.training.schedules import ScheduleSettings
from sijo.training.settings import LoopSettings


@dataclass(frozen=True)
class Recipe:
    """Settings with a name."""

    settings: RunSettings
    """All that decides the run, but its text."""
    source: str
    """Where the settings were published, or what they are for."""

    @property
    def name(self) -> str:
        """What it is called."""
        return self.settings.recipe


ELECTRA_MASKING = Masking(choice="token", mask=0.85, keep=0.15, random=0.0)
ALBERT_MASKING = Masking(choice="ngram", most=20)
DEBERTA_MASKING = Masking(choice="deberta_ngram")
DEBERTA_V3_MASKING = Masking(choice="deberta_ngram", longest=1, mask=1.0, keep=0.0, random=0.0)
UNIGRAM = TokenizerSettings(kind="unigram", family="deberta-v2", vocab_size=128_000, cased=True)


def _architecture(size: str) -> Architecture:
    architecture: Architecture = published(size)[1].architecture()
    return architecture


def _bert() -> RunSettings:
    return RunSettings(
        recipe="bert-base",
        model=_architecture("bert-base-uncased"),
        objective=ObjectiveSettings(parts=("mlm",), masking=Masking(choice="token")),
        data=SampleSettings(length=512, cut="documents", short=0.1),
        optimizer=OptimizerSettings(kind="adamw_uncorrected"),
        schedule=ScheduleSettings(peak=1e-4, shape="linear_from_start", warmup_steps=10_000),
        run=LoopSettings(steps=1_000_000, batch=256, save_every=5_000),
    )


def _electra(
    size: str, generator: Architecture, *, length: int, batch: int, steps: int, peak: float, share: float = 0.15
) -> RunSettings:
    most = int((share + 0.005) * length)
    return RunSettings(
        recipe=f"electra-{size}",
        model=_architecture(f"electra-{size}-discriminator"),
        generator=generator,
        objective=ObjectiveSettings(
            parts=("rtd",), masking=replace(ELECTRA_MASKING, share=share, most=most), sharing="tied", weight=50.0
        ),
        data=SampleSettings(length=length, cut="documents", segments="one_or_two", short=0.05),
        optimizer=OptimizerSettings(kind="adamw_uncorrected"),
        schedule=ScheduleSettings(peak=peak, shape="linear_times_warmup", warmup_steps=10_000),
        run=LoopSettings(steps=steps, batch=batch, save_every=5_000),
    )


def _narrower(architecture: Architecture, width: int) -> Architecture:
    """ELECTRA's generator: as deep as its discriminator, its table as wide, its layers `width` wide."""
    heads = max(1, width // 64)
    return replace(architecture, hidden_size=width, heads=heads, intermediate_size=4 * width, widening="after_norm")


def _albert(size: str) -> RunSettings:
    return RunSettings(
        recipe=f"albert-{size}",
        model=_architecture(f"albert-{size}-v2"),
        objective=ObjectiveSettings(parts=("mlm", "sop"), masking=ALBERT_MASKING),
        tokenizer=TokenizerSettings(kind="unigram", family="albert", vocab_size=30_000),
        data=SampleSettings(length=512, cut="documents", segments="two", short=0.1),
        optimizer=OptimizerSettings(kind="lamb"),
        schedule=ScheduleSettings(peak=0.00176, shape="linear_from_start", warmup_steps=3_125),
        run=LoopSettings(steps=125_000, batch=4_096, save_every=1_000),
    )


def _deberta() -> RunSettings:
    return RunSettings(
        recipe="deberta-base",
        model=_architecture("deberta-base"),
        objective=ObjectiveSettings(parts=("mlm",), masking=DEBERTA_MASKING),
        tokenizer=TokenizerSettings(kind="bpe", family="deberta", vocab_size=50_265, cased=True),
        data=SampleSettings(length=512, cut="stream"),
        optimizer=OptimizerSettings(kind="adamw_uncorrected"),
        schedule=ScheduleSettings(peak=2e-4, shape="linear", warmup_steps=10_000),
        run=LoopSettings(steps=1_000_000, batch=2_048, save_every=5_000),
    )


def _deberta_v3(size: str, *, peak: float) -> RunSettings:
    return RunSettings(
        recipe=f"deberta-v3-{size}",
        model=_architecture(f"deberta-v3-{size}"),
        generator=_architecture(f"deberta-v3-{size}-generator"),
        objective=ObjectiveSettings(parts=("rtd",), masking=DEBERTA_V3_MASKING, sharing="gdes", weight=50.0),
        tokenizer=UNIGRAM,
        data=SampleSettings(length=512, cut="stream"),
        optimizer=OptimizerSettings(kind="adamw_uncorrected", betas=(0.9, 0.98)),
        schedule=ScheduleSettings(peak=peak, shape="linear", warmup_steps=10_000),
        run=LoopSettings(steps=500_000, batch=8_192, save_every=2_000),
    )


def _ctrl() -> RunSettings:
    return RunSettings(
        recipe="ctrl",
        model=replace(_architecture("ctrl"), positions=Sinusoidal(count=256, layout="halves")),
        objective=ObjectiveSettings(parts=("clm",)),
        tokenizer=TokenizerSettings(kind="bpe", family="ctrl", vocab_size=246_534, cased=True),
        data=SampleSettings(length=256, cut="stream"),
        optimizer=OptimizerSettings(kind="adagrad", weight_decay=0.0),
        schedule=ScheduleSettings(peak=0.05, shape="constant", warmup_steps=25_000),
        run=LoopSettings(steps=800_000, batch=1_024, clip=0.25, save_every=5_000),
    )


@dataclass(frozen=True)
class DistillationRecipe:
    """A way to teach, with a name; with a teacher it becomes the settings of a run."""

    name: str
    """What it is called."""
    source: str
    """Where it was published, or what it is for."""
    teaching: Teaching
    """What is learned from the teacher."""
    masked: bool
    """Whether the student learns from text too: mlm, or under a teacher that reads to the left clm."""
    data: SampleSettings
    """How the corpus is cut."""
    optimizer: OptimizerSettings
    """How the weights are moved."""
    schedule: ScheduleSettings
    """How fast, when."""
    run: LoopSettings
    """How long, how much at once."""

    def settings(self, teacher: str | None) -> RunSettings:
        """A run whose student is half as deep as the teacher (and of BERT a DistilBERT).

        teacher  a folder or org/name, or None for the built-in sentence encoder

        Raises as `load` does where there is no such model.
        """
        architecture = describe(teacher).architecture
        left = architecture.reads == "left"
        parts: tuple[str, ...] = () if not self.masked else ("clm",) if left else ("mlm",)
        return RunSettings(
            recipe=self.name,
            model=distilbert_of(architecture) if self.masked else half_as_deep(architecture),
            teacher=TeacherSettings(model=teacher, **asdict(self.teaching)),
            objective=ObjectiveSettings(parts=parts, masking=Masking(choice="frequency")),
            data=replace(
                self.data,
                cut="stream" if left else self.data.cut,
                length=min(self.data.length, architecture.places or self.data.length),
            ),
            optimizer=self.optimizer,
            schedule=self.schedule,
            run=self.run,
        )


DISTILBERT = Teaching(soft=5.0, hard=2.0, cosine=1.0, temperature=2.0)
MINILM = Teaching(hard=0.0, relations=1.0)
_ADAMW = OptimizerSettings(kind="adamw", betas=(0.9, 0.98), weight_decay=0.0)
_SHORT = SampleSettings(length=128, cut="documents")

DISTILLATIONS: dict[str, DistillationRecipe] = {
    way.name: way
    for way in (
        DistillationRecipe(
            "distilbert",
            "Sanh et al. 2019, section 3, and the released script: batches of 2,000",
            DISTILBERT,
            masked=True,
            data=SampleSettings(length=512, cut="documents"),
            optimizer=_ADAMW,
            schedule=ScheduleSettings(peak=5e-4, warmup_share=0.05),
            run=LoopSettings(epochs=3, batch=2_000, micro_tokens=2_048, clip=5.0),
        ),
        DistillationRecipe(
            "distilbert-tiny",
            "the same in batches of 32, for two cores",
            DISTILBERT,
            masked=True,
            data=_SHORT,
            optimizer=_ADAMW,
            schedule=ScheduleSettings(peak=2e-4, warmup_share=0.05),
            run=LoopSettings(epochs=1, batch=32, micro_tokens=1_024, clip=5.0),
        ),
        DistillationRecipe(
            "minilm",
            "Wang et al. 2020 (MiniLMv2), section 4.1; 48 relation heads go with a width of 768",
            MINILM,
            masked=False,
            data=SampleSettings(length=512, cut="documents"),
            optimizer=OptimizerSettings(kind="adamw", betas=(0.9, 0.999), weight_decay=0.01),
            schedule=ScheduleSettings(peak=6e-4, warmup_steps=4_000),
            run=LoopSettings(steps=400_000, batch=256, save_every=5_000),
        ),
        DistillationRecipe(
            "minilm-tiny",
            "the same in batches of 32, for two cores",
            MINILM,
            masked=False,
            data=_SHORT,
            optimizer=_ADAMW,
            schedule=ScheduleSettings(peak=4e-4, warmup_share=0.05),
            run=LoopSettings(epochs=1, batch=32),
        ),
        DistillationRecipe(
            "sentence",
            "vectors of texts, for encoders behind the embedding scorer, on two cores",
            Teaching(hard=0.0, vectors=1.0),
            masked=False,
            data=SampleSettings(length=64, cut="documents"),
            optimizer=_ADAMW,
            schedule=ScheduleSettings(peak=3e-4, warmup_share=0.05),
            run=LoopSettings(epochs=1, batch=64),
        ),
    )
}
"""All ways to teach by name."""


LENGTH, WIDTH, VOCABULARY = 128, 128, 4_096
"""Tokens of an input, the width of its states, and tokens in all, in the tiny recipes."""


def _small(architecture: Architecture, *, layers: int = 2, table: int = WIDTH) -> Architecture:
    """A published network cut down to a few layers of width 128; no dropout, for it sees its text once or twice."""
    positions, distances = architecture.positions, architecture.distances
    return replace(
        architecture,
        vocab_size=VOCABULARY,
        embedding_size=table,
        hidden_size=WIDTH,
        heads=4,
        intermediate_size=4 * WIDTH,
        schedule=(0,) * layers if architecture.blocks == 1 else tuple(range(layers)),
        positions=None if positions is None else replace(positions, count=LENGTH),
        distances=None if distances is None else replace(distances, span=LENGTH, buckets=distances.buckets // 8),
        widening=None if table == WIDTH else "after_norm",
        dropout=DropoutRates(embeddings=0.0, attention=0.0, attention_output=0.0, hidden=0.0),
    )


def _tiny(
    settings: RunSettings,
    name: str,
    model: Architecture,
    generator: Architecture | None = None,
    *,
    steps: int = 2_500,
) -> RunSettings:
    """A published recipe on two cores: its objective and its choices, a small network, a short run.

    A generator asks for ELECTRA's share of the tokens, a masked model for twice as many as published: in a
    quarter of an hour it is answers that are short, not context (docs/log.md).
    """
    masking = settings.objective.masking
    masking = masking if generator else replace(masking, share=0.3)
    most = None if masking.most is None else int((masking.share + 0.005) * LENGTH)
    return replace(
        settings,
        recipe=f"{name}-tiny",
        model=model,
        generator=generator,
        objective=replace(settings.objective, masking=replace(masking, most=most)),
        tokenizer=replace(settings.tokenizer, vocab_size=VOCABULARY),
        data=replace(settings.data, length=LENGTH),
        optimizer=OptimizerSettings(kind="adamw", betas=(0.9, 0.98)),
        schedule=ScheduleSettings(peak=2e-3, shape="linear", warmup_share=0.05),
        run=LoopSettings(steps=steps, batch=16, save_every=500),
    )


def _recipes() -> Iterable[Recipe]:
    bert, deberta, ctrl, albert = _bert(), _deberta(), _ctrl(), _albert("base")
    narrow = _narrower(_architecture("electra-small-discriminator"), 64)
    small = _electra("small", narrow, length=128, batch=128, steps=1_000_000, peak=5e-4)
    yield Recipe(bert, "Devlin et al. 2018, section A.2; without next-sentence prediction")
    yield Recipe(small, "Clark et al. 2020, table 6: the generator a quarter as wide")
    generator = _architecture("electra-base-generator")
    base = _electra("base", generator, length=512, batch=256, steps=766_000, peak=2e-4)
    yield Recipe(base, "Clark et al. 2020, table 6: the generator a third as wide")
    generator = _architecture("electra-large-generator")
    large = _electra("large", generator, length=512, batch=2_048, steps=400_000, peak=2e-4, share=0.25)
    yield Recipe(large, "Clark et al. 2020, table 6, ELECTRA-400K: the generator a quarter as wide")
    yield Recipe(deberta, "He et al. 2020, table 8")
    for size, peak in (("small", 6e-4), ("base", 6e-4), ("large", 3e-4)):
        yield Recipe(_deberta_v3(size, peak=peak), "He et al. 2021, appendix: the generator half as deep")
    yield Recipe(albert, "Lan et al. 2019, section 4.1")
    yield Recipe(_albert("xxlarge"), "Lan et al. 2019, section 4.1")
    yield Recipe(ctrl, "Keskar et al. 2019, section 3")

    v3 = _deberta_v3("small", peak=6e-4)
    # by learned places, ELECTRA's discriminator finds nothing in a quarter of an hour (docs/log.md)
    near = replace(_small(small.model), positions=None, distances=_small(v3.model).distances)
    for settings in (
        _tiny(bert, "bert", _small(bert.model), steps=5_000),
        _tiny(small, "electra", near, replace(near, schedule=(0,))),
        _tiny(deberta, "deberta", _small(deberta.model)),
        _tiny(v3, "deberta-v3", _small(v3.model), _small(v3.model, layers=1)),
        _tiny(albert, "albert", _small(albert.model, table=64)),
        _tiny(ctrl, "ctrl", _small(ctrl.model), steps=1_500),
    ):
        yield Recipe(settings, "for two cores and a quarter of an hour")


RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in _recipes()}
"""All recipes by name."""
