"""transformers: token classification with `Trainer`, as its documentation has it."""

import time
from pathlib import Path

import given

asked = given.options(
    network={"type": Path, "required": True},
    n={"type": int, "default": 6000},
    tests={"type": int, "default": 3000},
    epochs={"type": int, "default": 3},
)
given.whole_torchvision()
import numpy as np  # noqa: E402
from datasets import Dataset  # noqa: E402
from transformers import (  # noqa: E402
    AutoModelForTokenClassification,
    DataCollatorForTokenClassification,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    set_seed,
)


def sentences(name, n):
    """The words and tags of the first sentences of a file."""
    text = (asked.data / f"{name}.conll").read_text(encoding="utf-8")
    blocks = [block for block in text.split("\n\n") if block.strip()][:n]
    pairs = [[line.split("\t") for line in block.strip("\n").split("\n")] for block in blocks]
    return {
        "tokens": [[w for w, _ in p] for p in pairs],
        "tags": [[t for _, t in p] for p in pairs],
    }


train = sentences("en.train", asked.n)
labels = ["O", *sorted({tag for tags in train["tags"] for tag in tags} - {"O"})]
number = {label: i for i, label in enumerate(labels)}
set_seed(asked.seed)
start = time.perf_counter()

# user
tokenizer = PreTrainedTokenizerFast(
    tokenizer_file=str(asked.network / "tokenizer.json"), pad_token="<pad>", unk_token="<unk>",
    model_max_length=256,
)  # fmt: skip


def aligned(rows):
    """The first piece of a word has its tag, all others none."""
    found = tokenizer(rows["tokens"], truncation=True, is_split_into_words=True)
    found["labels"] = []
    for i, tags in enumerate(rows["tags"]):
        before, said = None, []
        for word in found.word_ids(i):
            said.append(-100 if word is None or word == before else number.get(tags[word], 0))
            before = word
        found["labels"].append(said)
    return found


def dataset(rows):
    """A dataset of ids and labels."""
    made = Dataset.from_dict(rows)
    return made.map(aligned, batched=True, remove_columns=["tokens", "tags"])


model = AutoModelForTokenClassification.from_pretrained(
    asked.network, num_labels=len(labels), id2label=dict(enumerate(labels)), label2id=number
)
parts = dataset(train).train_test_split(test_size=0.1, seed=asked.seed)
trainer = Trainer(
    model=model,
    args=TrainingArguments(
        output_dir="trained",
        learning_rate=2e-5,
        per_device_train_batch_size=16,
        per_device_eval_batch_size=16,
        num_train_epochs=asked.epochs,
        weight_decay=0.01,
        eval_strategy="epoch",
        save_strategy="no",
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        seed=asked.seed,
    ),
    train_dataset=parts["train"],
    eval_dataset=parts["test"],
    processing_class=tokenizer,
    data_collator=DataCollatorForTokenClassification(tokenizer=tokenizer),
)
trainer.train()
# end
fit_seconds = time.perf_counter() - start


def entities(tags):
    """As seqeval finds them."""
    found, kind, begun = set(), None, 0
    for i, tag in enumerate([*tags, "O"]):
        prefix, _, name = tag.partition("-")
        if kind is not None and (prefix != "I" or name != kind):
            found.add((kind, begun, i))
            kind = None
        if prefix == "B" or (prefix == "I" and kind is None):
            kind, begun = name, i
    return found


def counts(name):
    """How many entities of each sentence are right, said and true."""
    rows = sentences(name, asked.tests)
    made = dataset(rows)
    said, told = trainer.predict(made).predictions.argmax(-1), []
    for i, tags in enumerate(rows["tags"]):
        at = np.flatnonzero(np.array(made[i]["labels"]) != -100)
        mine = [labels[k] for k in said[i][at]] + ["O"] * (len(tags) - len(at))
        a, b = entities(tags), entities(mine)
        told.append([len(a & b), len(b), len(a)])
    return told


given.answer(en=counts("en.test"), fr=counts("fr.test"), fit_seconds=fit_seconds)
