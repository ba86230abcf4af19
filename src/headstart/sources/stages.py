"""Stages: a network cut into an ordered list of parts that can be run one after another.

A part takes and returns a *state*: for pictures one activation, for texts the hidden vectors of
shape (n, tokens, d) and the attention mask of shape (n, tokens). The last part returns the
features, of shape (n, d).
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

State = tuple[Tensor, ...]


@dataclass(frozen=True)
class Stages:
    """Named parts of a network, in order.

    Parameters
    ----------
    names, parts
        The parts and what they are called.
    blocks
        Which of them are the repeated blocks; the others are the stem and the end.
    shapes
        Of an example's activation at every boundary, the input and the features included.
    """

    names: tuple[str, ...]
    parts: tuple[nn.Module, ...]
    blocks: range
    shapes: tuple[torch.Size, ...] = ()


#: Poolings that need no part of the network.
PLAIN = ("mean", "cls")


@dataclass(frozen=True)
class Ending:
    """How a network of transformers comes from its last hidden vectors to one a row.

    Parameters
    ----------
    pooling
        "mean" over what the mask keeps; "cls", the first of them; or the name of the part of the
        network that makes one of them.
    normalize
        Whether the vector is divided by its length, as many sentence encoders were trained.
    """

    pooling: str = "mean"
    normalize: bool = False


def cut(network: nn.Module, library: str, ending: Ending, example: State) -> Stages:
    """Cut a network between its blocks; where that cannot be done, before its pooling.

    Every cut is proved on `example`: the parts in turn must give what the whole gives.

    Raises
    ------
    ValueError
        Where the network says two things of the same example.
    """
    if ending.pooling in PLAIN and isinstance(getattr(network, "pooler", None), nn.Module):
        ending = dataclasses.replace(ending, pooling="mean")  # a pooler without weights averages
    whole, wanted = _shaped(_whole(network, library, ending), example)
    best = whole
    for attempt in _attempts(network, library, ending):
        try:
            found, features = _shaped(attempt(), example)
        except Exception:  # a foreign network may break a trace in any way
            continue
        if _is_same(features, wanted) and len(found.parts) > len(best.parts):
            best = found
    # What was said twice alike already need not be said a third time.
    if best is whole and not _is_same(_shaped(whole, example)[1], wanted):
        raise ValueError("the network says two things of the same rows, as one that draws does")
    return best


def _is_same(features: Tensor, wanted: Tensor) -> bool:
    return torch.allclose(features, wanted, rtol=1e-4, atol=1e-5)


def _attempts(network: nn.Module, library: str, ending: Ending) -> list[Callable[[], Stages]]:
    if library != "timm":
        return [lambda: _encoder(network, ending)]
    loose, strict = block_candidates(network, _is_list), block_candidates(network, _is_torch_list)
    choices = {tuple(pick(names)) for names in (loose, strict) for pick in (innermost, outermost)}
    return [partial(_traced, network, names) for names in sorted(choices) if names]


def _shaped(stages: Stages, state: State) -> tuple[Stages, Tensor]:
    """Return the stages with their shapes, and the features of the example."""
    shapes = [state[0].shape]
    with torch.no_grad():
        for part in stages.parts:
            state = part(*state)
            shapes.append(state[0].shape)
    return dataclasses.replace(stages, shapes=tuple(shapes)), state[0]


# --- any network: everything, then the pooling --------------------------------------------------


def _whole(network: nn.Module, library: str, ending: Ending) -> Stages:
    parts: tuple[nn.Module, ...]
    if library == "timm":
        parts = (_TimmBody(network), _TimmHead(network))
    else:
        norm = _inner(network, "layernorm") or nn.Identity()
        parts = (_Body(network), _Pool(nn.Identity(), ending))
        object.__setattr__(parts[1], "norm_of_means", norm)  # it belongs to the body,
        object.__setattr__(parts[1], "pooler", _pooler(network, ending))  # and so does this
    return Stages(("all", "final"), parts, range(0))


class _TimmBody(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> State:
        return (self.network.forward_features(pixels),)


class _TimmHead(nn.Module):
    """The pooling of a timm network; its weights, if any, are registered with the body."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        object.__setattr__(self, "network", network)

    def forward(self, activation: Tensor) -> State:
        return (self.network.forward_head(activation),)


class _Body(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> State:
        if mask is None:
            return (self.network(inputs).last_hidden_state,)
        return (self.network(input_ids=inputs, attention_mask=mask).last_hidden_state, mask)


# --- networks of transformers: embeddings, layers, the end --------------------------------------

LISTS = ("encoder.layer", "encoder.layers", "transformer.layer", "layers", "encoder.stages")


def _encoder(network: nn.Module, ending: Ending) -> Stages:
    layers = next((found for name in LISTS if (found := _inner(network, name)) is not None), None)
    first = _inner(network, "embeddings") or _inner(network, "embedder")
    if layers is None or first is None:
        raise ValueError("not an encoder of embeddings and layers")
    norm = _inner(network, "layernorm") or nn.Identity()
    table = _inner(network, "encoder.relative_attention_bias")
    distances = None if table is None else _Distances(network.encoder)
    project = _inner(network, "embeddings_project") or nn.Identity()
    middle = [_Layer(layer, distances) for layer in layers.children()]
    last = _Pool(norm, ending, _pooler(network, ending))
    names = ("embeddings", *(f"layer.{i}" for i in range(len(middle))), "final")
    parts = (_Embeddings(first, project, table or nn.Identity()), *middle, last)
    return Stages(names, parts, range(1, len(names) - 1))


def _inner(network: nn.Module, path: str) -> nn.Module | None:
    found: Any = network
    for name in path.split("."):
        found = getattr(found, name, None)
    return found if isinstance(found, nn.Module) else None


def _pooler(network: nn.Module, ending: Ending) -> nn.Module | None:
    """Return the part that makes one vector of the last hidden ones, where the ending names it."""
    if ending.pooling in PLAIN:
        return None
    found = _inner(network, ending.pooling)
    if found is None:
        raise ValueError(f"the network has no part {ending.pooling!r} to pool with")
    return found


class _Embeddings(nn.Module):
    def __init__(self, embeddings: nn.Module, project: nn.Module, table: nn.Module) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.project = project
        self.table = table  # of relative positions: every layer reads it, this part owns it

    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> State:
        hidden = self.project(self.embeddings(inputs))
        return (hidden,) if mask is None else (hidden, mask)


class _Distances:
    """What every layer of MPNet adds for how far tokens are apart, from a table they share.

    The table belongs to the embeddings, which may be on another device than the layers above.
    """

    def __init__(self, encoder: Any) -> None:
        self.encoder = encoder

    def __call__(self, hidden: Tensor) -> Tensor:
        """Return what to add to the scores of attention, shape (1, heads, tokens, tokens)."""
        table = self.encoder.relative_attention_bias.weight
        # Read of it are the length and the device.
        one = torch.empty((1, hidden.shape[1], 1), device=table.device)
        added: Tensor = self.encoder.compute_position_bias(one)
        return added.to(hidden.device)


class _Layer(nn.Module):
    def __init__(self, layer: nn.Module, distances: _Distances | None) -> None:
        super().__init__()
        self.layer = layer
        self.distances = distances

    def forward(self, hidden: Tensor, mask: Tensor | None = None) -> State:
        if mask is None:
            return (_first(self.layer(hidden)),)
        lowest = torch.finfo(hidden.dtype).min
        added = (1 - mask[:, None, None, :].to(hidden.dtype)) * lowest  # (n, 1, 1, tokens)
        extra = () if self.distances is None else (self.distances(hidden),)
        return (_first(self.layer(hidden, added, *extra)), mask)


def _first(output: Any) -> Tensor:
    first: Tensor = output[0] if isinstance(output, tuple) else output
    return first


class _Pool(nn.Module):
    """The norm of a network and its ending."""

    def __init__(self, norm: nn.Module, ending: Ending, pooler: nn.Module | None = None) -> None:
        super().__init__()
        self.norm = norm
        self.ending = ending
        self.pooler = pooler
        object.__setattr__(self, "norm_of_means", norm)

    def forward(self, hidden: Tensor, mask: Tensor | None = None) -> State:
        if hidden.ndim == 4:  # convolutional networks pool, then normalize
            return (self.norm_of_means(hidden.mean((-2, -1))),)
        pooled = self._pooled(self.norm(hidden), mask)
        return (functional.normalize(pooled) if self.ending.normalize else pooled,)

    def _pooled(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        if self.pooler is not None:
            said: Tensor = self.pooler(hidden)
            return said if said.ndim == 2 else said[:, 0]  # a norm says something of every token
        return hidden[:, 0] if self.ending.pooling == "cls" else mean_tokens(hidden, mask)


def mean_tokens(hidden: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the mean over the tokens the mask keeps.

    >>> mean_tokens(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[1, 1, 0]]))
    tensor([[2.]])
    """
    if mask is None:
        return hidden.mean(1)
    kept = mask[:, :, None].to(hidden.dtype)  # (n, tokens, 1)
    return (hidden * kept).sum(1) / kept.sum(1).clamp(min=1)


# --- networks of timm: traced, cut after each repeated block ------------------------------------


class _Tracer(fx.Tracer):
    def __init__(self, opened: set[str]) -> None:
        super().__init__()
        self.opened = opened

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name not in self.opened


class _Alone(nn.Module):
    """A network that takes one argument: options it may have are left at their defaults."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.network(pixels)
        return features


def block_candidates(network: nn.Module, is_list: Callable[[nn.Module], bool]) -> list[str]:
    """Return the elements of lists that have layers of their own, by their dotted names."""
    return [
        f"{name}.{child}"
        for name, module in network.named_modules()
        if name and is_list(module)
        for child, element in module.named_children()
        if not is_list(element) and any(_has_weights(part) for part in element.children())
    ]


def _is_torch_list(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential | nn.ModuleList)


def _is_list(module: nn.Module) -> bool:
    """Whether this is one of torch's lists, or its children are all of one class."""
    if _is_torch_list(module):
        return True
    children = list(module.children())
    return len({type(child) for child in children}) == 1 and any(children[0].children())


def _has_weights(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())


def innermost(names: list[str]) -> list[str]:
    """Return the names that no other name continues.

    >>> innermost(["a.0", "a.0.b.0", "a.1"]), outermost(["a.0", "a.0.b.0", "a.1"])
    (['a.0.b.0', 'a.1'], ['a.0', 'a.1'])
    """
    return [name for name in names if not any(c.startswith(f"{name}.") for c in names)]


def outermost(names: list[str]) -> list[str]:
    """Return the names that continue no other name."""
    return [name for name in names if not any(name.startswith(f"{c}.") for c in names)]


def _traced(network: nn.Module, names: Sequence[str]) -> Stages:
    alone = _Alone(network)
    blocks = {f"network.{name}" for name in names}
    opened = {name.rsplit(".", i)[0] for name in blocks for i in range(1, name.count(".") + 1)}
    graph = _Tracer(opened).trace(alone)
    cuts = [node for node in graph.nodes if str(node.target) in blocks and _is_alone(node, graph)]
    if not cuts:
        raise ValueError("no place where one activation says all")
    middle = (str(node.target).removeprefix("network.") for node in cuts)
    parts = _parts(alone, graph, cuts)
    first = ("stem",) * (len(parts) - len(cuts) - 1)
    return Stages((*first, *middle, "final"), parts, range(len(first), len(parts) - 1))


def _is_alone(last: fx.Node, graph: fx.Graph) -> bool:
    """Whether nothing computed before `last` is needed after it, weights apart."""
    seen = set()
    for node in graph.nodes:
        seen.add(node)
        if node is last:
            break
    return not any(
        node is not last and node.op != "get_attr" and any(user not in seen for user in node.users)
        for node in seen
    )


def _parts(network: nn.Module, graph: fx.Graph, cuts: list[fx.Node]) -> tuple[nn.Module, ...]:
    """Return the stem, one part a block, and the end; a part ends where the next begins.

    The stem goes up to the first block's input, so that the first block is a part of its own; there
    is none where that is the picture.
    """
    nodes = [node for node in graph.nodes if node.op not in ("placeholder", "get_attr")]
    enters = cuts[0].args[0]
    assert isinstance(enters, fx.Node)
    stem = [] if enters.op == "placeholder" else [enters]
    ends = [nodes.index(node) + 1 for node in (*stem, *cuts)]
    ends.append(len(nodes))
    start = 0
    parts = []
    entry = next(node for node in graph.nodes if node.op == "placeholder")
    for end in ends:
        parts.append(_part(network, nodes[start:end], entry))
        start, entry = end, nodes[end - 1]
    return tuple(parts)


def _part(network: nn.Module, nodes: list[fx.Node], entry: fx.Node) -> nn.Module:
    """Return the nodes as a module of their own, from `entry` to the last of them."""
    graph = fx.Graph()
    copies = {entry: graph.placeholder("activation")}

    def copy(node: fx.Node) -> fx.Node:
        if node not in copies:
            if node.op != "get_attr":
                raise ValueError(f"{node} comes from before the cut")
            copies[node] = graph.node_copy(node)
        return copies[node]

    for node in nodes:
        if node.op != "output":
            copies[node] = graph.node_copy(node, copy)
    last = nodes[-1].args[0] if nodes[-1].op == "output" else nodes[-1]
    assert isinstance(last, fx.Node)
    graph.output((copy(last),))
    return fx.GraphModule(network, graph)
