"""Hugging Face's Trainer on texts, with the arguments of its text classification guide."""

import given

asked = given.options(part={"default": "all"}, epochs={"type": int, "default": 2})
train, test = given.rows(asked.data / "train.csv"), given.rows(asked.data / "test.csv")
given.whole_torchvision()
# user
import numpy as np  # noqa: E402
from datasets import Dataset  # noqa: E402
from transformers import (  # noqa: E402
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    set_seed,
)

set_seed(asked.seed)
names = sorted(set(train[1]))
tokenizer = AutoTokenizer.from_pretrained(given.minilm())


def tokenized(texts, labels):
    rows = Dataset.from_dict({"text": texts, "label": [names.index(label) for label in labels]})
    return rows.map(lambda batch: tokenizer(batch["text"], truncation=True), batched=True)


def accuracy(found):
    return {"accuracy": float(np.mean(found.predictions.argmax(1) == found.label_ids))}


sets = {"train": tokenized(*train), "test": tokenized(*test)}
model = AutoModelForSequenceClassification.from_pretrained(given.minilm(), num_labels=len(names))
given.freeze_bert(model, asked.part)
arguments = TrainingArguments(
    output_dir=str(asked.data / "trainer"),
    learning_rate=2e-5,
    per_device_train_batch_size=16,
    per_device_eval_batch_size=16,
    num_train_epochs=asked.epochs,
    weight_decay=0.01,
    eval_strategy="epoch",
    save_strategy="epoch",
    load_best_model_at_end=True,
    report_to="none",
    use_cpu=True,
    disable_tqdm=True,
    seed=asked.seed,
)
trainer = Trainer(
    model=model,
    args=arguments,
    train_dataset=sets["train"],
    eval_dataset=sets["test"],
    processing_class=tokenizer,
    data_collator=DataCollatorWithPadding(tokenizer=tokenizer),
    compute_metrics=accuracy,
)
trained = trainer.train()
found = trainer.predict(sets["test"])
# end
given.trained(trainer, trained, found)
