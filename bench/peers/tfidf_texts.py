"""scikit-learn alone: words and pairs of words, weighted, then a logistic regression."""

import given

asked = given.options()
train, test = given.rows(asked.data / "train.csv"), given.rows(asked.data / "test.csv")
# user
from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402

words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
model = make_pipeline(words, LogisticRegression(C=10, max_iter=1000)).fit(*train)
said = model.predict(test[0])
# end
given.answer(right=[str(a) == b for a, b in zip(said, test[1], strict=True)])
