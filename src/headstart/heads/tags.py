"""The tag head: a linear layer a word, and a linear chain over the words of a sentence.

The layer is solved as that of any linear head, with the words as rows. What follows what is then
learned on sentences that the layer has not seen: learned with it, on the words it was fitted to,
the chain would trust it too much. What BIO forbids stays forbidden.
"""

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.data.ragged import Ragged, flat, lengths, like, ragged
from headstart.data.sampling import folds as folds_of
from headstart.data.tags import entities, repaired
from headstart.data.words import Sentence, splitting
from headstart.errors import IntegrityError
from headstart.features.compile import Boundaries
from headstart.features.extract import TOP_OF_WORDS
from headstart.features.features import Features
from headstart.heads.chain import fit_chain
from headstart.heads.choose import PENALTIES, Choice, Fold, Job, among, choose, groups_of
from headstart.heads.design import Scaler, design, scaler_of
from headstart.heads.head import Layer, run_layers
from headstart.heads.linear import LinearFit, LinearHead, unscaled
from headstart.heads.solve import Tolerance
from headstart.machine import one_thread, seeds
from headstart.metrics.chain import (
    Chain,
    best_paths,
    legal_chain,
    legal_paths,
    marginals,
)
from headstart.task import Kind, Task

#: In how many parts held-out sentences are read by a chain that the others taught.
CHAIN_PARTS = 3
#: Above so many words one split takes the place of the folds, and the penalty is chosen on some.
SPLIT_ABOVE = 20_000
#: Words that the penalty is chosen on there, and the share of them that is held out.
CHOICE_WORDS, CHOICE_SHARE = 20_000, 0.25
#: The share of all sentences that is then held out for the chain.
HELD_SHARE = 0.1
#: Of few sentences beside many that may not judge, at least so many are held out, or half of them.
LEAST_HELD = 20
#: Up to this many bytes in float32 the words are held and turned; above, read at every pass.
HELD_BYTES = 2**30
#: The penalties that are tried: stronger ones leave most entities unfound.
PATH = tuple(penalty for penalty in PENALTIES if penalty < 0.5)
#: When the solver stops: more digits change no tag.
ENOUGH = Tolerance(gain=1e-6, slope=1e-5, iterations=300)
#: Of folds of sentences: nothing is to be kept in its share.
ANY = Task(Kind.REGRESSION)


@dataclass(frozen=True, eq=False)
class TagHead:
    """One affine layer, and a chain over what it says of the words of a sentence.

    Features, logits and outputs are ragged: an array of shape (words, d) or (words, k) a row.

    Parameters
    ----------
    weight, bias
        Shape (k, d) and (k,).
    chain
        What follows what; what is illegal is −∞.
    temperature
        What logits are divided by before they meet the chain.
    reads
        The boundaries whose features stand side by side.

    Examples
    --------
    >>> head = TagHead(np.array([[0.0], [1.0], [1.0]]), np.zeros(3), legal_chain(3))
    >>> head.outputs([np.array([[0.0]])])[0].round(2).tolist()  # I cannot be the first
    [[0.5, 0.5, 0.0]]
    """

    weight: NDArray[np.floating]
    bias: NDArray[np.floating]
    chain: Chain
    temperature: float = 1.0
    reads: Boundaries = TOP_OF_WORDS

    name: ClassVar[str] = "tags"
    kind: ClassVar[Kind] = Kind.TAGS
    thresholds: ClassVar[None] = None

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The one layer."""
        return ((self.weight, self.bias),)

    def module(self) -> Any:
        """Return a torch `Linear` of the same weights, to be trained."""
        from headstart.heads.module import affine

        return affine(self.layers[0])

    def learned(self, module: Any) -> "TagHead":
        """Return the same head with the weights that its module has now."""
        from headstart.heads.module import layer_of

        weight, bias = layer_of(module)
        return dataclasses.replace(self, weight=weight, bias=bias)

    def logits(self, features: Ragged) -> NDArray[Any]:
        """Return what the layer says of each word; ragged, (words, k) each."""
        if not sum(map(len, features)):
            return ragged([np.zeros((0, len(self.bias)), dtype=np.float32)] * len(features))
        return like(run_layers(Kind.MULTICLASS, self.layers, flat(features)), features)

    def outputs(self, features: Ragged) -> NDArray[Any]:
        """Return the probability of each tag at each word, given the whole sentence; ragged."""
        return self.outputs_from(self.logits(features))

    def outputs_from(self, logits: Ragged) -> NDArray[Any]:
        """Return the outputs for what the layer says; ragged.

        What is decided is the best path: where another tag than the path's is likelier at a word
        by itself, the two exchange their probabilities (on English and French sentences that was
        0.3 and 1.0 points of F1 better than to decide word by word).
        """
        scaled = [row / self.temperature for row in logits]
        told = marginals(scaled, self.chain)
        for row, path in zip(told, best_paths(scaled, self.chain), strict=True):
            each, likeliest = np.arange(len(row)), row.argmax(axis=1)
            row[each, path], row[each, likeliest] = row[each, likeliest], row[each, path]
        return ragged([row.astype(np.float32) for row in told])

    def calibrated(
        self, logits: Ragged, targets: Ragged, weight: NDArray[np.float64] | None = None
    ) -> "TagHead":
        """Return the head with the temperature and the chain that suit held-out sentences best."""
        temperature, chain = fit_chain(logits, targets, weight)
        return dataclasses.replace(self, temperature=temperature, chain=chain)

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return everything needed to make it again: arrays, and facts that fit in JSON."""
        arrays = {
            "weight": self.weight,
            "bias": self.bias,
            "start": self.chain.start,
            "transition": self.chain.transition,
        }
        facts = {"head": self.name, "temperature": self.temperature, "reads": list(self.reads)}
        return arrays, facts | {"splitting": splitting()}

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> "TagHead":
        """Make it again from its `state`.

        Raises
        ------
        IntegrityError
            Where texts are now cut into other words than those it learned from.
        """
        if facts["splitting"] != splitting():
            raise IntegrityError(
                f"The model learned from words cut by the rules {facts['splitting']}, this "
                f"Headstart cuts by {splitting()}.\nUse the version that made it, or fit it again."
            )
        chain = Chain(arrays["start"], arrays["transition"])
        temperature, reads = float(facts["temperature"]), tuple(facts["reads"])
        return cls(arrays["weight"], arrays["bias"], chain, temperature, reads)


def spans(
    row: Sentence, outputs: NDArray[np.floating], types: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the entities said of a sentence, each with its place in the text.

    The score of an entity is the probability of the tag of its least sure word.

    Parameters
    ----------
    row
        The sentence.
    outputs
        Shape (words, k).
    types
        The names of the entity types.

    Examples
    --------
    >>> from headstart.data.words import sentence
    >>> spans(sentence("in Rome"), np.array([[1, 0, 0], [0.25, 0.75, 0]]), ["LOC"])
    [{'label': 'LOC', 'start': 3, 'end': 7, 'text': 'Rome', 'score': 0.75}]
    """
    (codes,) = legal_paths([outputs])
    sure = outputs[np.arange(len(codes)), codes]
    found = []
    for kind, first, last in entities(codes):
        start, stop = row.place(first, last)
        found.append({
            "label": types[kind - 1],
            "start": start,
            "end": stop,
            "text": row.text[start:stop],
            "score": float(sure[first:last].min()),
        })  # fmt: skip
    return found


def fit_tags(
    candidates: Features | Mapping[Boundaries, Features],
    targets: ArrayLike,
    task: Task,
    *,
    weight: ArrayLike | None = None,
    folds: int | Sequence[Fold] = 5,
    judges: NDArray[np.bool_] | None = None,
    seed: int = 0,
) -> LinearFit:
    """Return the tag head of least penalized loss; layers, penalty and chain suit held-out rows.

    Where there are many words the layers and the penalty are chosen on some of the sentences: by
    the same prior on the weights, the penalty a word is so much smaller as there are more words.

    Parameters
    ----------
    candidates
        Ragged, a vector a word; or several such features by what they were read at, of which the
        ones are taken whose held-out words cost least.
    targets
        Codes as in a dataset; they are repaired here.
    weight
        How much each sentence counts, shape (n,); 1 if None. Those of 0 judge nothing.
    folds
        How many, or the folds of sentences themselves; sentences are never cut. Above 20,000
        words a number means one split.
    judges
        Which sentences may be held out, shape (n,), where `folds` is a number; all if None.
    """
    began = time.perf_counter()
    counts = np.ones(len(np.asarray(targets))) if weight is None else np.asarray(weight, float)
    of = {TOP_OF_WORDS: candidates} if isinstance(candidates, Features) else candidates
    rows = {reads: _Sentences.of(one, targets, task, counts) for reads, one in of.items()}
    may_judge = counts > 0 if judges is None else (counts > 0) & judges
    with one_thread():
        solved = _solved(rows, folds, may_judge, seed)
        linear, choice = solved.head, solved.choice
        head = TagHead(linear.weight, linear.bias, legal_chain(task.n_outputs), reads=solved.reads)
        head, outputs = _chained(head, choice, next(iter(rows.values())), seed)
    seconds = time.perf_counter() - began
    return LinearFit(head, choice.penalty, outputs, choice.path, solved.converged, seconds,
                     choice.warnings)  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Sentences:
    """Sentences, their repaired tags, how much each counts, and the task of a word."""

    features: Features
    codes: NDArray[Any]
    weight: NDArray[np.float64]
    task: Task

    @classmethod
    def of(
        cls, features: Features, targets: ArrayLike, task: Task, weight: NDArray[np.float64]
    ) -> "_Sentences":
        """Repair the tags, and ask of each word what the task asks of a sentence."""
        codes = ragged([repaired(row) for row in np.asarray(targets)])
        return cls(features, codes, weight, dataclasses.replace(task, kind=Kind.MULTICLASS))

    @property
    def sizes(self) -> NDArray[np.int64]:
        """How many words each has."""
        return lengths(self.codes)

    def take(self, at: NDArray[np.int64]) -> "_Sentences":
        """Return some of them."""
        return _Sentences(self.features.take(at), self.codes[at], self.weight[at], self.task)

    def job(self) -> tuple[Job, Scaler]:
        """Return the words as rows of a convex problem, and what standardized them."""
        words = self.features.flat()
        weight = np.repeat(self.weight, self.sizes)
        scaler = scaler_of(words, weight)
        return Job(design(words, scaler, HELD_BYTES), flat(self.codes), weight, self.task), scaler


def words_of(
    features: Features, targets: ArrayLike, task: Task, weight: NDArray[np.float64]
) -> Job:
    """Return the words of sentences as rows of a convex problem."""
    return _Sentences.of(features, targets, task, weight).job()[0]


@dataclass(frozen=True, eq=False)
class _Solved:
    """A solved layer, how its penalty was chosen, and what it reads."""

    head: LinearHead
    choice: Choice
    converged: bool
    reads: Boundaries


def _solved(
    candidates: Mapping[Boundaries, _Sentences],
    folds: int | Sequence[Fold],
    judges: NDArray[np.bool_],
    seed: int,
) -> _Solved:
    rows = next(iter(candidates.values()))
    groups = groups_of(rows.features)
    if isinstance(folds, int) and rows.sizes.sum() > SPLIT_ABOVE:
        some = _some(rows.sizes, judges, seed)
        few = {reads: one.take(some) for reads, one in candidates.items()}
        held = _split(groups[some], judges[some], CHOICE_SHARE, seed)
        reads, tried, _ = _best(few, None, held)
        share = float(rows.weight[some] @ rows.sizes[some]) / float(rows.weight @ rows.sizes)
        held = _split(groups, judges, HELD_SHARE, seed)
        of = {reads: candidates[reads]}
        _, choice, (job, scaler) = _best(of, [tried.penalty * share], held)
        choice = dataclasses.replace(choice, path=tried.path)
    else:
        held = _split(groups, judges, folds, seed) if isinstance(folds, int) else list(folds)
        reads, choice, (job, scaler) = _best(candidates, None, held)
    found = job.whole().solve(choice.penalty, choice.start, ENOUGH)
    return _Solved(unscaled(job, scaler, found), choice, found.converged, reads)


def _best(
    candidates: Mapping[Boundaries, _Sentences],
    penalties: Sequence[float] | None,
    folds: Sequence[Fold],
) -> tuple[Boundaries, Choice, tuple[Job, Scaler]]:
    """Return the candidate whose held-out words cost least, its penalty, and its problem."""
    found = []
    for reads, rows in candidates.items():
        job, scaler = rows.job()
        tried = penalties or (PATH if folds else None)
        choice = choose(job, tried, word_folds(rows.sizes, folds))
        loss = min((one.loss for one in choice.path), default=math.inf)
        found.append((loss, reads, choice, (job, scaler)))
    return min(found, key=lambda one: one[0])[1:]


def _some(sizes: NDArray[np.int64], judges: NDArray[np.bool_], seed: int) -> NDArray[np.int64]:
    """Return sentences of some `CHOICE_WORDS` words in all, in their order; judges come first."""
    order = seeds(seed, "sentences").permutation(len(sizes))
    order = order[np.argsort(~judges[order], kind="stable")]
    n = max(2, int(np.searchsorted(np.cumsum(sizes[order]), CHOICE_WORDS)))
    return np.sort(order[:n])


def _split(
    groups: NDArray[np.int64], judges: NDArray[np.bool_], folds: float, seed: int
) -> list[Fold]:
    """Return folds of sentences: so many, or one that holds out a share (below 1) of judges."""
    at = np.flatnonzero(judges)
    n = len(np.unique(groups[at]))
    k = min(n, round(1 / folds) if folds < 1 else int(folds))
    if folds < 1 and len(at) < len(judges):
        k = min(k, max(2, n // LEAST_HELD))
    if k < 2:
        return []
    found = folds_of(np.zeros(len(at)), ANY, k, seed, groups[at])
    return among(found[:1] if folds < 1 else found, at, len(judges))


def _chained(
    head: TagHead, choice: Choice, rows: _Sentences, seed: int
) -> tuple[TagHead, NDArray[Any] | None]:
    """Return the head with its chain, and what it says of the sentences when they were held out.

    A chain knows the sentences it was fitted to, so that each is read by one fitted to others.
    """
    if choice.logits is None:
        return head, None
    codes, weight, groups = rows.codes, rows.weight, groups_of(rows.features)
    held = like(choice.logits, codes)
    seen = np.array([i for i, row in enumerate(held) if len(row) and np.isfinite(row).all()])
    k = choice.logits.shape[1]
    outputs = ragged([np.full((len(row), k), np.nan, dtype=np.float32) for row in codes])
    n_parts = min(CHAIN_PARTS, len(np.unique(groups[seen])))
    parts = folds_of(np.zeros(len(seen)), ANY, n_parts, seed, groups[seen]) if n_parts > 1 else []
    for fit, out in [(seen[fit], seen[out]) for fit, out in parts] or [(seen, seen)]:
        outputs[out] = head.calibrated(held[fit], codes[fit], weight[fit]).outputs_from(held[out])
    return head.calibrated(held[seen], codes[seen], weight[seen]), outputs


def word_folds(sizes: NDArray[np.int64], folds: Sequence[Fold]) -> list[Fold]:
    """Return folds of sentences as folds of words."""
    return [(_words(sizes, fit), _words(sizes, out)) for fit, out in folds]


def _words(sizes: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places of the words of some sentences among all words.

    >>> _words(np.array([2, 1, 2]), np.array([0, 2]))
    array([0, 1, 3, 4])
    """
    ends = np.cumsum(sizes)
    starts = np.repeat(ends[rows] - sizes[rows], sizes[rows])
    within = np.arange(len(starts)) - np.repeat(np.cumsum(sizes[rows]) - sizes[rows], sizes[rows])
    return np.asarray(starts + within)
