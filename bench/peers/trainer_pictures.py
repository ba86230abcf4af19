"""Hugging Face's Trainer on pictures, with the arguments of its image classification guide."""

import given

asked = given.options(part={"default": "frozen"}, epochs={"type": int, "default": 3})
sets = given.folders(asked.data)
# user
import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402
from transformers import Trainer, TrainingArguments, set_seed  # noqa: E402


class Classifier(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, pixel_values, labels=None):
        logits = self.network(pixel_values)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def collate(rows):
    pixels, labels = zip(*rows, strict=True)
    return {"pixel_values": torch.stack(pixels), "labels": torch.tensor(labels)}


def accuracy(found):
    return {"accuracy": float(np.mean(found.predictions.argmax(1) == found.label_ids))}


set_seed(asked.seed)
network = given.lite0(len(sets["train"].classes))
given.freeze_lite0(network, asked.part)
arguments = TrainingArguments(
    output_dir=str(asked.data / "trainer"),
    remove_unused_columns=False,
    eval_strategy="epoch",
    save_strategy="epoch",
    learning_rate=5e-5,
    per_device_train_batch_size=16,
    gradient_accumulation_steps=4,
    per_device_eval_batch_size=16,
    num_train_epochs=asked.epochs,
    warmup_steps=0.1,
    logging_steps=10,
    load_best_model_at_end=True,
    metric_for_best_model="accuracy",
    report_to="none",
    use_cpu=True,
    disable_tqdm=True,
    seed=asked.seed,
)
trainer = Trainer(
    model=Classifier(network),
    args=arguments,
    data_collator=collate,
    train_dataset=sets["train"],
    eval_dataset=sets["test"],
    compute_metrics=accuracy,
)
trained = trainer.train()
found = trainer.predict(sets["test"])
# end
given.trained(trainer, trained, found)
