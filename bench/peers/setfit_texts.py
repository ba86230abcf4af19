"""SetFit, as its documentation trains it: pairs of sentences, then a logistic regression."""

import given

asked = given.options(iterations={"type": int, "default": None}, steps={"type": int, "default": -1})
train, test = given.rows(asked.data / "train.csv"), given.rows(asked.data / "test.csv")
given.whole_torchvision()
# user
from datasets import Dataset  # noqa: E402
from setfit import SetFitModel, Trainer, TrainingArguments  # noqa: E402

model = SetFitModel.from_pretrained(given.minilm(), labels=sorted(set(train[1])))
trainer = Trainer(
    model=model,
    args=TrainingArguments(
        output_dir=str(asked.data / "setfit"),
        num_iterations=asked.iterations,
        max_steps=asked.steps,
        save_strategy="no",
        report_to="none",
        seed=asked.seed,
    ),
    train_dataset=Dataset.from_dict({"text": train[0], "label": train[1]}),
)
trainer.train()
said = model.predict(test[0])
# end
given.answer(right=[str(a) == b for a, b in zip(said, test[1], strict=True)])
