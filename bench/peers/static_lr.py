"""model2vec: one vector a word, distilled from the same MiniLM, then a logistic regression."""

import given

asked = given.options()
train, test = given.rows(asked.data / "train.csv"), given.rows(asked.data / "test.csv")
given.whole_torchvision()
# user
from model2vec.distill import distill  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402

words = distill(given.minilm(), device="cpu")
head = LogisticRegression(max_iter=1000).fit(words.encode(train[0]), train[1])
said = head.predict(words.encode(test[0]))
# end
given.answer(right=[str(a) == b for a, b in zip(said, test[1], strict=True)])
