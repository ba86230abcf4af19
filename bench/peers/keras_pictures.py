"""Keras' guide "Transfer learning & fine-tuning", its first half, on the torch backend.

The network is PyTorch's, wrapped as a layer that is kept in inference mode, as the guide keeps it.
"""

import os

os.environ["KERAS_BACKEND"] = "torch"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import given

asked = given.options(epochs={"type": int, "default": 20})
sets = given.folders(asked.data)
# user
import keras  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

keras.utils.set_random_seed(asked.seed)
loaders = {
    part: torch.utils.data.DataLoader(sets[part], batch_size=64, shuffle=part == "train")
    for part in sets
}
network = given.lite0(0)  # without a last layer: the features
base = keras.layers.TorchModuleWrapper(network, output_shape=(None, 1280))
base.trainable = False
inputs = keras.Input(shape=(3, 224, 224))
features = base(inputs, training=False)
features = keras.layers.Dropout(0.2)(features)
outputs = keras.layers.Dense(len(sets["train"].classes))(features)
model = keras.Model(inputs, outputs)
model.compile(
    optimizer=keras.optimizers.Adam(),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
clock = keras.callbacks.LambdaCallback(
    on_epoch_end=lambda epoch, logs: curve.append((given.seconds(), logs["val_accuracy"]))
)
curve = []
model.fit(
    loaders["train"],
    epochs=asked.epochs,
    validation_data=loaders["test"],
    callbacks=[clock],
    verbose=0,
)
said = model.predict(loaders["test"], verbose=0).argmax(axis=1)
# end
right = (said == np.array(sets["test"].targets)).tolist()
given.answer(right=right, curve=curve)
