"""Tagger: what was done about tags before networks, for the classical arm."""

from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from headstart.data.ragged import flat, like, ragged
from headstart.data.tags import repaired

#: Columns that the parts of words are hashed into.
N_COLUMNS = 2**18


class Tagger(BaseEstimator):
    """Tags each word by what it is made of and by its neighbors, with logistic regression.

    Parameters
    ----------
    n_tags
        How many tags there are.
    seed
        Of the order of the words.

    References
    ----------
    Ratnaparkhi, A maximum entropy model for part-of-speech tagging, 1996, table 1.
    """

    def __init__(self, n_tags: int = 3, seed: int = 0) -> None:
        self.n_tags = n_tags
        self.seed = seed

    def fit(self, X: Sequence[Any], y: Any) -> Self:
        """Learn from sentences and their codes, which are repaired first."""
        from sklearn.linear_model import SGDClassifier

        targets = flat([repaired(np.asarray(codes)) for codes in y])
        # The penalty is that of C = 1 in scikit-learn's terms: one prior on the weights.
        self.model_ = SGDClassifier(
            loss="log_loss", alpha=1 / len(targets), max_iter=20, tol=1e-4, random_state=self.seed
        )
        self.model_.fit(self._read(X), targets)
        return self

    def predict_proba(self, X: Sequence[Any]) -> NDArray[Any]:
        """Return the probability of each tag at each word; ragged."""
        if not sum(map(len, X)):
            return ragged([np.zeros((0, self.n_tags)) for _ in X])
        said = self.model_.predict_proba(self._read(X))
        whole = np.zeros((len(said), self.n_tags))
        whole[:, self.model_.classes_] = said
        return like(whole, [row.words for row in X])

    def _read(self, rows: Sequence[Any]) -> Any:
        from sklearn.feature_extraction import FeatureHasher

        hasher = FeatureHasher(N_COLUMNS, input_type="string", alternate_sign=False)
        return hasher.transform(told for row in rows for told in described(row.words))


def described(words: Sequence[str]) -> Iterator[list[str]]:
    """Yield what is told of each word: itself, its letters, its shape, its neighbors.

    >>> next(described(["Rome"]))[:5]
    ['w=rome', 's=Xx', 'p1=r', 'e1=e', 'p2=ro']
    """
    lower = [word.lower() for word in words]
    for i, word in enumerate(words):
        told = [f"w={lower[i]}", f"s={shape(word)}"]
        for n in (1, 2, 3):
            told += [f"p{n}={lower[i][:n]}", f"e{n}={lower[i][-n:]}"]
        for step in (-2, -1, 1, 2):
            near = i + step
            is_there = 0 <= near < len(words)
            told.append(f"{step}={lower[near] if is_there else ''}")
            told.append(f"{step}s={shape(words[near]) if is_there else ''}")
        yield told


def shape(word: str) -> str:
    """Return the kinds of a word's characters, each run once.

    >>> shape("McDonald"), shape("1998"), shape("U.S.")
    ('XxXx', '0', 'X.X.')
    """
    kinds = ["X" if c.isupper() else "x" if c.isalpha() else "0" if c.isdigit() else c
             for c in word[:40]]  # fmt: skip
    return "".join(kind for i, kind in enumerate(kinds) if i == 0 or kind != kinds[i - 1])
