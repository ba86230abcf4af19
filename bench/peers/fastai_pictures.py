"""fastai's vision learner, frozen as it makes it, for five passes of one cycle."""

import given

asked = given.options(epochs={"type": int, "default": 5})
given.whole_torchvision()
# user
from fastai.vision.all import (  # noqa: E402
    Callback,
    CrossEntropyLossFlat,
    ImageDataLoaders,
    Normalize,
    RandomResizedCrop,
    accuracy,
    aug_transforms,
    get_image_files,
    nn,
    set_seed,
    vision_learner,
)


class Clock(Callback):
    order = 60  # after the recorder

    def after_epoch(self):
        curve.append((given.seconds(), float(self.recorder.values[-1][-1])))


set_seed(asked.seed)
loaders = ImageDataLoaders.from_folder(
    asked.data,
    train="train",
    valid="test",
    item_tfms=RandomResizedCrop(224, min_scale=0.35),
    batch_tfms=[*aug_transforms(), Normalize.from_stats([127 / 255] * 3, [128 / 255] * 3)],
    bs=32,
    num_workers=0,
    device="cpu",
)
learner = vision_learner(
    loaders,
    lambda pretrained=True: given.lite0(2),
    cut=lambda m: nn.Sequential(m.conv_stem, m.bn1, m.blocks, m.conv_head, m.bn2),
    normalize=False,
    loss_func=CrossEntropyLossFlat(),
    metrics=accuracy,
)
curve = []
with learner.no_bar(), learner.no_logging():
    learner.fit_one_cycle(asked.epochs, cbs=[Clock()])
    files = sorted(get_image_files(asked.data / "test"))
    outputs, _ = learner.get_preds(dl=loaders.test_dl(files))
said = [loaders.vocab[i] for i in outputs.argmax(1).tolist()]
# end
right = [label == path.parent.name for label, path in zip(said, files, strict=True)]
given.answer(right=right, curve=curve)
