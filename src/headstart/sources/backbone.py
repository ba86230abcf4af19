"""Backbone: a pretrained network as an ordered list of stages."""

import torch
from torch import Tensor, nn

from headstart.sources.networks import foreign, network_of
from headstart.sources.preprocess import PicturePreprocess, TextPreprocess
from headstart.sources.source import Source
from headstart.sources.stages import Ending, State, cut, mean_tokens

N_TOKENS = 12  # of the example; any small number


class Backbone(nn.Module):
    """A pretrained network without its old head, as ordered stages.

    A *boundary* b is a place between stages: `run(state, 0, b)` is what lies below it. The *state*
    there is (activation,) for pictures, (hidden of shape (n, tokens, d), mask of shape
    (n, tokens)) for texts, and (features of shape (n, d),) at the top.

    Parameters
    ----------
    source
        The card; its weights are read and verified here.

    Examples
    --------
    >>> from headstart.sources.catalog import resolve
    >>> backbone = Backbone(resolve("scratch:pkg:efficientnet-lite0"))
    >>> backbone.names[:3], backbone.n_stages, backbone.n_features
    (('stem', 'blocks.0.0', 'blocks.1.0'), 18, 1280)
    """

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source
        network = network_of(source)
        said = source.architecture
        ending = Ending(said.get("pooling", "mean"), said.get("normalize", False))
        with foreign(source):
            found = cut(network, said["library"], ending, self.example(2))
        self.names = found.names
        self.blocks = found.blocks
        self.stages = nn.ModuleList(found.parts)
        self._own_names = _own_names(self, network)
        used = set(self._own_names.values())
        whole = network.state_dict()
        self._unused = {name: tensor for name, tensor in whole.items() if name not in used}
        self._axes = [_places(shape, source) for shape in found.shapes]
        self._n_features = int(found.shapes[-1][1])
        self.eval()

    @property
    def n_stages(self) -> int:
        """How many stages there are; also the boundary at the top."""
        return len(self.stages)

    @property
    def n_features(self) -> int:
        """How many numbers the network says of a row."""
        return self._n_features

    @property
    def input_names(self) -> tuple[str, ...]:
        """What `forward` takes, in this order."""
        is_text = isinstance(self.source.preprocess, TextPreprocess)
        return ("input_ids", "attention_mask") if is_text else ("pixels",)

    def stage(self, i: int) -> nn.Module:
        """Return one stage, for freezing and for its own rate."""
        return self.stages[i]

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the features of shape (n, d): pixels NCHW and normalized, or ids and mask."""
        return self.run(inputs, 0, self.n_stages)[0]

    def run(self, state: State, start: int, stop: int) -> State:
        """Return the state at boundary `stop` from the state at boundary `start`."""
        for stage in self.stages[start:stop]:
            state = stage(*state)
        return state

    def pool(self, state: State, at: int) -> Tensor:
        """Return one vector a row, of shape (n, d), from the state at boundary `at`.

        At the top they are the network's own features; below, the mean over the places of an
        activation, or over the tokens the mask keeps.
        """
        if at == self.n_stages:
            return state[0]
        if state[0].ndim == 4:
            return state[0].mean(self._axes[at])
        return mean_tokens(*state)

    def example(self, batch: int, n_tokens: int = N_TOKENS) -> State:
        """Return inputs of the right shape, the same ones every time; the last text is padded."""
        generator = torch.Generator().manual_seed(0)
        preprocess = self.source.preprocess
        if isinstance(preprocess, TextPreprocess):
            words = int(self.source.architecture["config"]["vocab_size"])
            ids = torch.randint(words // 2, words, (batch, n_tokens), generator=generator)
            mask = torch.ones_like(ids)
            mask[-1, n_tokens - 3 :] = 0
            return ids, mask
        assert isinstance(preprocess, PicturePreprocess)
        size = (batch, len(preprocess.mean), preprocess.height, preprocess.width)
        return (torch.randn(size, generator=generator),)

    def weights(self) -> dict[str, Tensor]:
        """Return weights and buffers under the network's own names, as a file of them is read."""
        own = {self._own_names[name]: tensor for name, tensor in self.state_dict().items()}
        return self._unused | own


def _own_names(backbone: nn.Module, network: nn.Module) -> dict[str, str]:
    """Return the name in the network of each tensor of the backbone; they are the same objects."""
    own = {id(tensor): name for name, tensor in network.state_dict(keep_vars=True).items()}
    return {name: own[id(t)] for name, t in backbone.state_dict(keep_vars=True).items()}


def _places(shape: torch.Size, source: Source) -> tuple[int, int]:
    """Return the axes of height and width: some networks keep channels last.

    They are those whose proportion is the picture's.
    """
    picture = source.preprocess
    if len(shape) != 4 or not isinstance(picture, PicturePreprocess):
        return (2, 3)
    ratio = picture.height / picture.width

    def error(height: int, width: int) -> float:
        return abs(height / width / ratio - 1)

    return (1, 2) if error(shape[1], shape[2]) < error(shape[2], shape[3]) else (2, 3)
