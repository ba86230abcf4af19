"""sentence-transformers and scikit-learn: embed, then a logistic regression."""

import given

asked = given.options()
train, test = given.rows(asked.data / "train.csv"), given.rows(asked.data / "test.csv")
given.whole_torchvision()
# user
from sentence_transformers import SentenceTransformer  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402

encoder = SentenceTransformer(given.minilm(), device="cpu")
head = LogisticRegression(max_iter=1000).fit(encoder.encode(train[0]), train[1])
said = head.predict(encoder.encode(test[0]))
# end
given.answer(right=[str(a) == b for a, b in zip(said, test[1], strict=True)])
