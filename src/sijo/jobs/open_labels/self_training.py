"""Self-training with open labels: a model labels texts, and learns from those it is surest of.

OUT/settings.json      all that decides the run, but its texts
OUT/data.json          which texts and labels those are
OUT/round-N.jsonl      the texts that round N learns from, each with the label it was given and its lead
OUT/round-N.json       what each text is given before round N, and how many kept theirs; one more than rounds
OUT/round-N/           the round: a run of `match_labels`, begun from the given model
OUT/evaluation.jsonl   what is measured on
OUT/results.json       all rounds, and macro-F1 before and after where there is something to measure on
OUT/model/             the model of the last round

A sentence encoder learns by vectors, all labels of a batch at once; a head for entailment on pairs, each text with
its label and a wrong one. Either goes on fitting any other labels. What is measured chooses nothing. Source: Gera
et al. 2022 (arXiv:2210.17541), section 3: confidence by the lead over the second label, as many of each label,
every round from the model that was given, and one wrong label, drawn at random, for each text.

Letters: T texts, N labels.
"""

import os
import shutil
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from sijo.data.labelled_rows import ColumnNames, read_rows
from sijo.errors import SettingError, TextError, warn
from sijo.files.atomic import whole_file, whole_folder
from sijo.files.json_files import json_line, json_text, read_object
from sijo.files.paths import FolderFile, present
from sijo.jobs.open_labels.label_matching import match_labels
from sijo.jobs.open_labels.label_matching_settings import MatchingFiles
from sijo.jobs.open_labels.recast import read_unlabelled
from sijo.jobs.open_labels.self_training_settings import SelfTrainingSettings, UnlabelledFiles
from sijo.jobs.run_folder import model_words, take_run_folder
from sijo.random import rng
from sijo.training.step import Step
from sijo.zeroshot.labels import LabelSet
from sijo.zeroshot.scorers.open import open_scorer
from sijo.zeroshot.scorers.scorer import ScoreRequest

FEWEST_TEXTS = 2
"""Texts without which there is nothing to choose among."""


def self_train(
    settings: SelfTrainingSettings,
    files: UnlabelledFiles,
    out: Path,
    *,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
    tell: Callable[[str], None] = lambda sentence: None,
) -> Generator[Step, None, bool]:
    """Let a model learn from its own answers to unlabelled texts; yields each step of each round when done.

    settings  such as `default_self_training` gives, changed or not
    files     the texts, the labels, and what is measured on
    out       the run's folder
    resume, stop, tell   as for `match_labels`

    Returns whether the run is finished. Raises SettingError for one label alone, and TextError for too few texts,
    or too few that the model is sure of, to teach two labels.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise SettingError("self-training runs in one process; start it without torchrun")
    labels = files.labels.leaves()
    if len(labels.labels) < 2:
        raise SettingError(
            f"with the one label {labels.names[0]!r} there is nothing to tell apart; give two or more"
        )
    texts = _texts(settings, files)
    digest = blake2b(json_text([texts, labels.digest]).encode(), digest_size=16).hexdigest()
    words = {"train": files.train, "evaluation": files.evaluation, "texts": len(texts), "digest": digest}
    with ExitStack() as stack:
        words |= model_words(model=settings.model)
        judged = _judged(files, labels)
        stack.enter_context(take_run_folder(out, settings, "data.json", words, resume=resume))
        evaluation = None if judged is None else _written(out / "evaluation.jsonl", judged)
        rounds = [_labelled(out, 1, texts, labels, settings, None)]
        tell(_told(rounds[0]))
        for number in range(1, settings.rounds + 1):
            folder = out / f"round-{number}"
            if present(folder, "model/manifest.json") is None:
                learned = match_labels(
                    settings.of_round(),
                    MatchingFiles(
                        train=str(out / f"round-{number}.jsonl"),
                        evaluation=evaluation,
                        text="text",
                        label="label",
                        labels=labels,
                    ),
                    folder,
                    resume=True,
                    stop=stop,
                    tell=tell,
                )
                if not (yield from learned):
                    return False
            rounds.append(_labelled(out, number + 1, texts, labels, settings, rounds[-1]))
            tell(_told(rounds[-1]))
            if rounds[-1]["agreement"] >= settings.agreement:
                break
        last = out / f"round-{len(rounds) - 1}"
        results = read_object(FolderFile(last, "results.json"))
        results |= {"task": settings.task, "texts": len(texts)}
        results["rounds"] = [{key: one[key] for key in ("agreement", "labels")} for one in rounds]
        with whole_file(out / "results.json") as file:
            file.write(json_text(results).encode())
        with whole_folder(out / "model", overwrite=True) as fresh:
            shutil.copytree(last / "model", fresh, dirs_exist_ok=True)
        return True


def _texts(settings: SelfTrainingSettings, files: UnlabelledFiles) -> list[str]:
    """The texts that are labelled, each once, in their order."""
    texts = [row.texts[0] for row in read_unlabelled(Path(files.train), files.text, files.how)]
    if len(texts) < FEWEST_TEXTS:
        raise TextError(f"{files.train} holds {len(texts)} text; self-training needs many, such as a thousand")
    if len(texts) > settings.most_texts:
        places = np.sort(rng(settings.run.seed, "unlabelled").permutation(len(texts))[: settings.most_texts])
        texts = [texts[place] for place in places]
    return texts


def _judged(files: UnlabelledFiles, labels: LabelSet) -> list[dict[str, str]] | None:
    """The labelled rows that are measured on. Raises TextError for a label that is none to choose among."""
    if files.evaluation is None:
        return None
    rows = read_rows(files.evaluation, "classification", ColumnNames(text=files.text, label=files.label), files.how)
    for row in rows:
        try:
            labels.place(row.label)
        except SettingError as error:
            raise TextError(f"{row.where}: {error}; add it to the labels, or leave such rows out") from None
    return [{"text": row.texts[0], "label": row.label} for row in rows]


def _labelled(
    out: Path,
    number: int,
    texts: Sequence[str],
    labels: LabelSet,
    settings: SelfTrainingSettings,
    before: dict[str, Any] | None,
) -> dict[str, Any]:
    """What the model before round `number` says of all texts, and which of them the round learns from.

    Made once, and read where the run goes on.
    """
    name = f"round-{number}.json"
    if (known := present(out, name)) is not None:
        return read_object(known)
    model = settings.model if number == 1 else str(out / f"round-{number - 1}" / "model")
    prompt = settings.prompt if number == 1 else None  # a later model keeps it
    scorer = open_scorer(settings.scorer, model, backend="torch", prompt=prompt)
    if number == 1 and scorer.caution:
        warn(scorer.caution)
    worded = labels.worded(scorer.templates)
    scores_TN, _ = scorer.score(ScoreRequest(texts, worded.labels, scorer.template))
    given_T, lead_T = scores_TN.argmax(1), _leads(scores_TN)
    chosen = confident(given_T, lead_T, per_label=settings.per_label, share=settings.share, margin=settings.margin)
    counts = np.bincount(given_T[chosen], minlength=len(labels.names))
    learns = number <= settings.rounds
    if learns and (counts > 0).sum() < 2:
        raise TextError(
            f"of {len(texts):,} texts the model is sure enough of {len(chosen):,}, all of one label or none, so "
            f"nothing can be learned from them; lower margin={settings.margin:g}, give more texts, or other labels"
        )
    if number == 1 and not counts.all():
        without = [label for label, count in zip(labels.names, counts, strict=True) if not count]
        warn(
            f"{len(without)} of {len(counts)} labels are given to no text with that lead, such as {without[0]!r}, "
            "so nothing is learned of them"
        )
    rows = [{"text": texts[row], "label": labels.names[given_T[row]], "lead": float(lead_T[row])} for row in chosen]
    if learns:
        _written(out / f"round-{number}.jsonl", rows)
    record = {
        "round": number,
        "agreement": None if before is None else float((given_T == np.array(before["given"])).mean()),
        "labels": {
            label: {"texts": int((given_T == place).sum()), "learned": int(counts[place])}
            for place, label in enumerate(labels.names)
        },
        "given": given_T.tolist(),
    }
    with whole_file(out / name) as file:
        file.write(json_text(record).encode())
    return record


def _leads(scores_TN: np.ndarray) -> np.ndarray:
    """How far each text's best label is before its second, (T,)."""
    top_T2 = np.sort(scores_TN, axis=1)[:, -2:]
    lead: np.ndarray = top_T2[:, 1] - top_T2[:, 0]
    return lead


def confident(
    given_T: np.ndarray, lead_T: np.ndarray, *, per_label: int, share: float, margin: float = 0.0
) -> np.ndarray:
    """The numbers of the texts to learn from: of each label the surest, as many of each, in their order.

    per_label  of a label at most
    share      of the texts that were given it, at most
    margin     the least lead

    >>> confident(np.array([0, 0, 0, 1]), np.array([0.1, 0.3, 0.2, 0.05]), per_label=2, share=1.0).tolist()
    [1, 2, 3]
    """
    chosen = []
    for label in np.unique(given_T):
        own = np.flatnonzero((given_T == label) & (lead_T >= margin))
        count = min(per_label, int(np.ceil(share * (given_T == label).sum())))
        chosen.append(own[np.argsort(-lead_T[own], kind="stable")][:count])
    return np.sort(np.concatenate(chosen))


def _told(record: dict[str, Any]) -> str:
    """A round, for a person."""
    learned = sum(one["learned"] for one in record["labels"].values())
    kept = "" if record["agreement"] is None else f"; {record['agreement']:.1%} kept the label they had before"
    return f"round {record['round']}: of {len(record['given']):,} texts {learned:,} are sure enough{kept}"


def _written(file: Path, rows: Sequence[dict[str, Any]]) -> str:
    """Write JSON Lines, whole or not at all; returns the path."""
    with whole_file(file) as out:
        for row in rows:
            out.write(json_line(row))
    return str(file)
