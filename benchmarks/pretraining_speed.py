"""How fast a step of pretraining is, beside the same step by hand in `transformers`.

    python benchmarks/pretraining_speed.py electra-small albert-base deberta-v3-xsmall --precision float32 bfloat16

One step is a batch of 16 inputs of 128 drawn tokens, in one piece: masked, read, the losses' gradients, clipped to
1 and taken by AdamW, with dropout of 0.1 everywhere.

  electra-small      the generator a quarter as wide and the discriminator at once, tables tied (rtd)
  deberta-v3-xsmall  the generator half as deep, behind the enhanced mask decoder, and the discriminator, whose
                     tables are the generator's and an offset; a vocabulary of 128,100 (rtd)
  albert-base        masked tokens and the order of sentences over one block, twelve times (mlm and sop)

sijo's is the step of its own loop, as `sijo pretrain` times it. The peers are transformers' classes with the same
weights; before anything is timed the losses are compared, without dropout.

  classes  the classes as they are: logits and loss of all places, torch's plain AdamW
  by_hand  the same encoders, but logits of masked places alone and AdamW's fused kernel, as a careful person writes
  eager    that, with attention written out in place of torch's fused one (DeBERTa knows no other)

Each is a process of its own, so that none has another's memory, and all take turns. Ratios are medians over rounds,
with a 95 % bootstrap interval and quartiles. In bfloat16 both sides multiply in it (the peers under torch's
autocast); every ratio of both precisions is in the record.
"""

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from measuring import median_ratio
from torch import Tensor, nn
from torch.nn import functional as F

import data
import sijo
from sijo.data.samples import Batch
from sijo.jobs.networks import build
from sijo.jobs.recipes import RECIPES
from sijo.jobs.run_settings import RunSettings
from sijo.models import FAMILIES, published
from sijo.objectives.objective import TrainingObjective
from sijo.objectives.posed_batch import PosedBatch, unposed
from sijo.tokenizers.tokenizer import Tokenizer
from sijo.training.cost import matmul_peak, training_flops
from sijo.training.loop import Training
from sijo.training.settings import read_settings

DROPOUT = dict.fromkeys(("embeddings", "attention", "attention_output", "hidden"), 0.1)
SIZES = {
    "electra-small": ("electra-small", {}),
    "deberta-v3-xsmall": (
        "deberta-v3-small",
        {"model": "deberta-v3-xsmall", "generator": "deberta-v3-xsmall-generator"},
    ),
    "albert-base": ("albert-base", {}),
}
"""A recipe by the name it is asked for, and published sizes in place of the recipe's."""
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def settings_of(name: str, args: argparse.Namespace, precision: str) -> RunSettings:
    """A recipe's, but for the batch, the optimiser and dropout."""
    recipe, sizes = SIZES[name]
    values = RECIPES[recipe].settings.to_json()
    values |= {folder: asdict(published(size)[1].architecture()) for folder, size in sizes.items()}
    for folder in ("model", "generator"):
        if values[folder] is not None:
            values[folder]["dropout"] = dict.fromkeys(DROPOUT, args.dropout)
            if args.layers:
                values[folder]["schedule"] = values[folder]["schedule"][: args.layers]
    values["data"] |= {"length": args.length, "short": 0.0}
    values["optimizer"] |= {"kind": "adamw", "betas": [0.9, 0.999], "eps": 1e-6, "weight_decay": 0.01}
    values["schedule"] |= {"shape": "constant", "peak": 1e-4, "warmup_steps": 0}
    values["run"] |= {"batch": args.batch, "micro_tokens": args.batch * args.length, "clip": 1.0}
    values["run"] |= {"steps": 1_000_000, "save_every": 1_000_000, "precision": precision, "divergence": 1e6}
    return read_settings(values, RunSettings)


def tokenizer_of(place: Path, size: int, length: int) -> Tokenizer:
    """A WordPiece tokenizer of so many tokens; its words are never read."""
    names = [*SPECIAL, *(f"word{number}" for number in range(size - len(SPECIAL)))]
    (place / "vocab.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    return Tokenizer.open(place, FAMILIES["electra"], max_length=length)


class Drawn:
    """Inputs of drawn tokens, frequent ones more often, in place of a corpus."""

    fingerprint = "drawn"

    def __init__(self, vocab_size: int, length: int) -> None:
        self.vocab_size, self.length = vocab_size, length

    def batch(self, first: int, count: int, *, seed: int) -> Batch:
        """Two segments each, all as long as they may be."""
        rng, length = np.random.default_rng([seed, first]), self.length
        shape, free = (count, length), self.vocab_size - len(SPECIAL)
        input_ids = (len(SPECIAL) + free ** rng.random(shape) - 1).astype(np.int64)
        special = np.zeros(shape, dtype=bool)
        middle = length // 2
        special[:, [0, middle, length - 1]] = True
        input_ids[:, 0], input_ids[:, middle], input_ids[:, -1] = 2, 3, 3
        types = np.broadcast_to(np.arange(length) > middle, shape).astype(np.int64)
        parts = np.broadcast_to([middle - 1, length - middle - 2], (count, 2)).astype(np.int64)
        numbers = np.arange(first, first + count)
        return Batch(
            input_ids=input_ids,
            keep=np.ones(shape, dtype=bool),
            token_type_ids=types,
            special=special,
            parts=parts.copy(),
            next_ids=np.full(count, -1),
            numbers=numbers,
            epochs=np.zeros_like(numbers),
        )


class Peer(nn.Module):
    """The same objective by hand: transformers' classes with a run's weights.

    objective  whose networks are copied
    attention  "sdpa" or "eager"
    whole      whether logits are computed of all places, and torch's plain AdamW is used
    """

    parts: tuple[str, ...]

    def __init__(self, objective: TrainingObjective, *, attention: str, whole: bool) -> None:
        super().__init__()
        self.whole = whole
        self.weights = dict(objective.weights)
        with tempfile.TemporaryDirectory() as place:
            for folder, network in objective.networks().items():
                sijo.save(network, Path(place) / folder)  # type: ignore[arg-type]
            self.open(Path(place), attention)
        self.train()

    def open(self, place: Path, attention: str) -> None:
        """Make the classes."""
        raise NotImplementedError

    def losses(self, posed: PosedBatch, replaced: Tensor | None) -> dict[str, Tensor]:
        """The mean of each part of the loss; `replaced` in place of drawn tokens."""
        raise NotImplementedError

    def start(self) -> None:
        """Make the optimiser: no decay of biases and norms."""
        decayed = [part for part in self.parameters() if part.dim() > 1]
        others = [part for part in self.parameters() if part.dim() <= 1]
        groups = [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-4, eps=1e-6, fused=None if self.whole else True)

    def step(self, posed: PosedBatch, *, low: bool) -> None:
        """One update of the weights."""
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            losses = self.losses(posed, None)
            loss = sum(self.weights[part] * value for part, value in losses.items())
        loss.backward()  # type: ignore[union-attr]
        torch.nn.utils.clip_grad_norm_(self.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        for value in losses.values():
            value.item()


def masked_loss(
    logits: Callable[[Tensor], Tensor], states: Tensor, posed: PosedBatch, *, whole: bool
) -> tuple[Tensor, Tensor]:
    """Cross entropy of the masked places, and their logits; computed of all places where `whole`."""
    mask = posed.target_mask
    if whole:
        scores = logits(states)
        loss = F.cross_entropy(scores.flatten(0, 1), posed.targets.masked_fill(~mask, -100).flatten())
        return loss, scores[mask]
    scores = logits(states[mask])
    return F.cross_entropy(scores, posed.targets[mask]), scores


def put_in(posed: PosedBatch, scores: Tensor) -> Tensor:
    """The batch with a token drawn at each masked place."""
    ids = posed.targets.clone()
    ids[posed.target_mask] = torch.multinomial(scores.detach().float().softmax(-1), 1)[:, 0]
    return ids


class Electra(Peer):
    """`ElectraForMaskedLM` and `ElectraForPreTraining`, tables tied."""

    def open(self, place: Path, attention: str) -> None:
        self.small = transformers.ElectraForMaskedLM.from_pretrained(
            place / "generator", attn_implementation=attention
        )
        self.large = transformers.ElectraForPreTraining.from_pretrained(
            place / "discriminator", attn_implementation=attention
        )
        ours, theirs = self.small.electra.embeddings, self.large.electra.embeddings
        for name in ("word_embeddings", "position_embeddings", "token_type_embeddings", "LayerNorm"):
            setattr(theirs, name, getattr(ours, name))

    def losses(self, posed: PosedBatch, replaced: Tensor | None) -> dict[str, Tensor]:
        types = posed.token_type_ids
        states = self.small.electra(input_ids=posed.input_ids, token_type_ids=types).last_hidden_state
        head = nn.Sequential(self.small.generator_predictions, self.small.generator_lm_head)
        masked, scores = masked_loss(head, states, posed, whole=self.whole)
        ids = put_in(posed, scores) if replaced is None else replaced
        fake = ids != posed.targets
        spotted = self.large(input_ids=ids, token_type_ids=types, labels=fake.long()).loss
        return {"mlm": masked, "rtd": spotted}


class Albert(Peer):
    """`AlbertForPreTraining`."""

    def open(self, place: Path, attention: str) -> None:
        self.model = transformers.AlbertForPreTraining.from_pretrained(
            place / "model", attn_implementation=attention
        )

    def losses(self, posed: PosedBatch, replaced: Tensor | None) -> dict[str, Tensor]:
        read = self.model.albert(input_ids=posed.input_ids, token_type_ids=posed.token_type_ids)
        head = self.model.predictions
        masked, _ = masked_loss(head, read.last_hidden_state, posed, whole=self.whole)
        order = self.model.sop_classifier(read.pooler_output)
        return {"mlm": masked, "sop": F.cross_entropy(order, posed.swapped)}


class Offset(nn.Module):
    """A table that is another's, without its gradient, and an offset (DeBERTaV3, section 3.3)."""

    def __init__(self, base: nn.Embedding, delta: Tensor) -> None:
        super().__init__()
        self.base, self.delta = (base,), nn.Parameter(delta.detach().clone())

    def forward(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.base[0].weight.detach()) + F.embedding(ids, self.delta)


class Deberta(Peer):
    """Two `DebertaV2Model`s; what transformers lacks (the mask decoder, the offset, the v3 head) in a few lines."""

    def __init__(self, objective: TrainingObjective, *, attention: str, whole: bool) -> None:
        super().__init__(objective, attention=attention, whole=whole)
        parts: Any = objective
        copies = {
            name: {key: value.detach().clone() for key, value in network.head[head].state_dict().items()}
            for name, network, head in (("mlm", parts.generator, "mlm"), ("rtd", parts.discriminator, "rtd"))
        }
        width, vocab = self.small.config.hidden_size, self.small.config.vocab_size
        mlm, rtd = copies["mlm"], copies["rtd"]
        self.dense, self.norm = nn.Linear(width, width), nn.LayerNorm(width, eps=1e-7)
        self.bias, self.places = nn.Parameter(torch.zeros(vocab)), nn.Parameter(mlm["places.weight"])
        self.spot_norm, self.spot_dense = nn.LayerNorm(width, eps=1e-7), nn.Linear(width, width)
        self.spot_out = nn.Linear(width, 1)
        for module, source, prefix in (
            (self.dense, mlm, "dense."),
            (self.norm, mlm, "norm."),
            (self.spot_norm, rtd, "norm."),
            (self.spot_dense, rtd, "dense."),
            (self.spot_out, rtd, "out."),
        ):
            module.load_state_dict(
                {key.removeprefix(prefix): value for key, value in source.items() if key.startswith(prefix)}
            )
        delta = parts.discriminator.transformer.embeddings.tokens.delta
        self.large.embeddings.word_embeddings = Offset(self.small.embeddings.word_embeddings, delta)

    def open(self, place: Path, attention: str) -> None:
        self.small = transformers.DebertaV2Model.from_pretrained(place / "generator")
        self.large = transformers.DebertaV2Model.from_pretrained(place / "discriminator")

    def losses(self, posed: PosedBatch, replaced: Tensor | None) -> dict[str, Tensor]:
        keep = torch.ones_like(posed.input_ids)
        read = self.small(input_ids=posed.input_ids, attention_mask=keep, output_hidden_states=True)
        encoder, before = self.small.encoder, read.hidden_states[-2]
        seen, apart = encoder.get_attention_mask(keep), encoder.get_rel_embedding()
        distances = encoder.get_rel_pos(before)
        query = before + self.places[: before.shape[1]]
        for _ in range(2):
            query, _ = encoder.layer[-1](
                before, seen, query_states=query, relative_pos=distances, rel_embeddings=apart
            )

        def logits(states: Tensor) -> Tensor:
            table = self.small.embeddings.word_embeddings.weight
            return F.linear(self.norm(F.gelu(self.dense(states))), table, self.bias)

        masked, scores = masked_loss(logits, query, posed, whole=self.whole)
        ids = put_in(posed, scores) if replaced is None else replaced
        states = self.large(input_ids=ids, attention_mask=keep).last_hidden_state
        spotted = self.spot_out(F.gelu(self.spot_dense(self.spot_norm(states + states[:, :1]))))[..., 0]
        fake = (ids != posed.targets).float()
        return {"mlm": masked, "rtd": F.binary_cross_entropy_with_logits(spotted.float(), fake)}


PEERS: dict[str, type[Peer]] = {"electra-small": Electra, "deberta-v3-xsmall": Deberta, "albert-base": Albert}
WAYS = {"classes": ("sdpa", True), "by_hand": ("sdpa", False), "eager": ("eager", False)}


def compared(objective: TrainingObjective, peer: Peer, posed: PosedBatch) -> dict[str, list[float]]:
    """Both sides' loss of each part, without dropout; ends the benchmark where they differ."""
    objective.eval()
    peer.eval()
    both: dict[str, list[float]] = {}
    with torch.no_grad():
        replaced = None
        if hasattr(objective, "_read"):
            replaced = objective._read(posed)[1]
        ours = {part: float(tally.total) / tally.count for part, tally in objective(posed).items()}
        theirs = {part: float(value) for part, value in peer.losses(posed, replaced).items()}
    for part, value in ours.items():
        both[part] = [value, theirs[part]]
        if abs(value - theirs[part]) > 1e-4 * abs(value):
            raise SystemExit(f"the losses differ: {part} is {value} here and {theirs[part]} there")
    objective.train()
    peer.train()
    return both


def serve(pipe: Connection, name: str, way: str, precision: str, args: argparse.Namespace) -> None:
    """A process's work: say what it is, then make a step and say its seconds whenever it is asked."""
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        place, settings = Path(folder), settings_of(name, args, precision)
        tokenizer = tokenizer_of(place, settings.model.vocab_size, args.length)
        samples: Any = Drawn(settings.model.vocab_size, args.length)
        objective = build(settings, tokenizer)
        posed = objective.pose(unposed(samples.batch(0, args.batch, seed=1)), 1)
        networks, share = objective.networks().values(), objective.share
        flops = training_flops(networks, args.length, share=share, sequences=args.batch)
        if way == "sijo":
            pipe.send({"flops": flops})
            steps = Training(settings, objective, samples, place / "run").steps()
            while pipe.recv():
                pipe.send(next(steps).seconds)
            steps.close()  # type: ignore[attr-defined]
            return
        attention, whole = WAYS[way]
        peer = PEERS[name](objective, attention=attention, whole=whole)
        pipe.send({"losses": compared(objective, peer, posed)})
        del objective, networks
        gc.collect()
        peer.start()
        while pipe.recv():
            started = time.perf_counter()
            peer.step(posed, low=precision == "bfloat16")
            pipe.send(time.perf_counter() - started)


def measured(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """All that is said of one network."""
    ways = ["sijo", *(way for way in args.peers if way != "eager" or not name.startswith("deberta"))]
    context, pipes, told = get_context("spawn"), {}, {}
    for precision in args.precision:
        for way in ways:
            pipe, end = context.Pipe()
            context.Process(target=serve, args=(end, name, way, precision, args), daemon=True).start()
            end.close()
            pipes[way, precision], told[way, precision] = pipe, pipe.recv()
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in pipes}
    peaks: dict[str, list[float]] = {precision: [] for precision in args.precision}
    for number in range(args.uncounted + args.rounds):
        for precision, reached in peaks.items():
            reached.append(matmul_peak(torch.get_num_threads(), getattr(torch, precision)))
        for key, pipe in pipes.items():
            pipe.send(True)
            seconds[key].append(pipe.recv())
            data.say(f"round {number + 1}: {key[0]} in {key[1]} {seconds[key][-1]:.2f} s")
    for pipe in pipes.values():
        pipe.send(False)
    wall = {key: np.array(taken[args.uncounted :]) for key, taken in seconds.items()}
    flops, tokens = told["sijo", args.precision[0]]["flops"], args.batch * args.length
    figures: dict[str, Any] = {"flops_per_token": flops}
    figures["losses"] = {way: said["losses"] for (way, _), said in told.items() if "losses" in said}
    for precision in args.precision:
        figures[f"peak_{precision}"] = statistics.median(peaks[precision])
    for (way, precision), taken in wall.items():
        speed = tokens / statistics.median(taken)
        share = speed * flops / figures[f"peak_{precision}"]
        quartiles = statistics.quantiles(taken, n=4) if len(taken) > 1 else []
        figures[f"{way}_{precision}"] = {
            "tokens_per_second": speed,
            "peak_share": share,
            "seconds": taken.tolist(),
            "quartiles": quartiles,
        }
        data.say(f"{name}, {way} in {precision}: {speed:,.0f} tokens/s, {share:.0%} of the peak")
    for precision in args.precision:
        for (way, other), taken in wall.items():
            if way != "sijo":
                ratios = taken / wall["sijo", precision]
                ratio = median_ratio(taken, wall["sijo", precision], seed=args.seed)
                quartiles = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else []
                figures[f"sijo_{precision}_times_{way}_{other}"] = asdict(ratio) | {"quartiles": quartiles}
                data.say(f"{name}: sijo in {precision} is {ratio} times {way} in {other}")
    return figures


def main() -> None:
    """Measure each, and print the record."""
    parser = data.parser(__doc__)
    parser.add_argument("names", nargs="*", default=[], help=f"of {', '.join(SIZES)} (all)")
    parser.add_argument("--precision", nargs="+", choices=("float32", "bfloat16"), default=["float32"])
    parser.add_argument("--peers", nargs="*", choices=tuple(WAYS), default=list(WAYS), help="(all)")
    parser.add_argument("--rounds", type=int, default=7, help="(7)")
    parser.add_argument("--uncounted", type=int, default=2, help="rounds before them, to warm up (2)")
    parser.add_argument("--batch", type=int, default=16, help="inputs (16)")
    parser.add_argument("--length", type=int, default=128, help="tokens of each (128)")
    parser.add_argument("--layers", type=int, help="only so many of each network's")
    parser.add_argument("--dropout", type=float, default=0.1, help="share, everywhere (0.1)")
    args = parser.parse_args()
    figures: dict[str, Any] = {}
    for name in args.names or SIZES:
        figures[name] = measured(name, args)
    data.report(args, {"batch": args.batch, "length": args.length, "rounds": args.rounds}, figures)


if __name__ == "__main__":
    main()
