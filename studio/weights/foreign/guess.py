"""What names and shapes cannot tell about a plain stack, guessed, and written as settings of our own families."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from studio.weights.foreign.chain import Chain, Link
from studio.weights.foreign.contents import Candidate, Contents
from studio.weights.foreign.geometry import Move
from studio.weights.foreign.rehearsal import surprise

EPSILON = 1e-5
ODD_EPSILON = 0.8
"""What a widely copied collection of GANs passes to its batch normalisation in the place of ε."""

_MOST_CANDIDATES = 6
_MOST_CHANGES = 3
_CLEARLY = 0.7
_LARGEST_NUMBER = 1e15
_SIZE_KEYS = ("image_size", "img_size", "resolution", "image_resolution")


@dataclass(frozen=True, kw_only=True)
class Guess:
    """One way to complete a stack.

    Attributes:
        moves: where each layer's window goes.
        resolution, channels: of the picture.
        activation: of every hidden layer whose names allow one.
        output: the last activation: "tanh", "sigmoid" or "none".
        epsilon: of the normalisations.
        bare_norm, groups: what a normalisation without statistics is.
        hidden_norm: a normalisation without any numbers, where the numbering has room for one; "" for none.
        label_input: how an embedded label meets the latent.
        idle_start: whether nothing follows a first linear layer of which the names do not tell.
        smooth: whether pictures are enlarged bilinearly.
    """

    moves: tuple[Move, ...]
    resolution: int
    channels: int
    activation: str = "relu"
    output: str = "tanh"
    epsilon: float = EPSILON
    bare_norm: str = "instance"
    groups: int = 1
    hidden_norm: str = ""
    label_input: str = "beside"
    idle_start: bool = False
    smooth: bool = False


def candidates(chain: Chain, guesses: Iterable[tuple[str, Guess]]) -> tuple[Candidate, ...]:
    """The guesses as settings, the first few that differ."""
    found: list[Candidate] = []
    for title, guess in guesses:
        settings = settings_of(chain, guess)
        if all(settings != other.settings for other in found):
            found.append(Candidate(title=title, settings=settings))
    return tuple(found[:_MOST_CANDIDATES])


def settings_of(chain: Chain, guess: Guess) -> dict[str, Any]:
    """The settings of a guess; a stack that is the standard DCGAN is written as that."""
    classes, width = chain.embedding.shape if chain.embedding is not None else (0, 0)
    inputs = chain.links[0].inputs
    embedded = guess.label_input in ("embedded_before", "embedded_after")
    settings: dict[str, Any] = {
        "resolution": guess.resolution,
        "channels": guess.channels,
        "classes": classes,
        "z_dim": inputs - width if embedded else inputs,
    }
    if classes:
        settings |= {"label_input": guess.label_input, "label_width": width}
    layers = layers_of(chain, guess)
    if not classes and (base := _standard_width(layers, guess)):
        return settings | {"width": base}
    if guess.output == "sigmoid":
        settings |= {"black": 0.0, "white": 1.0}
    return settings | {"layers": layers}


def layers_of(chain: Chain, guess: Guess) -> list[dict[str, Any]]:
    """The layers of a guess, as settings of the studio's stacks."""
    return [_layer(chain, guess, number) for number in range(len(chain.links))]


def settled(chain: Chain, best: Guess, others: Callable[[Guess], Iterable[tuple[str, Guess]]]) -> Guess:
    """The guess whose layers the learned statistics bear out best, found by one change after another."""
    least = surprise(chain, layers_of(chain, best), best.label_input)
    if least is None or not math.isfinite(least):
        return best
    for _ in range(_MOST_CHANGES):
        inside = [other for _, other in others(best) if replace(other, output=best.output) != best]
        rated = [(surprise(chain, layers_of(chain, other), other.label_input), other) for other in inside]
        fitting = [(value, other) for value, other in rated if value is not None and value < _CLEARLY * least]
        if not fitting:
            return best
        least, best = min(fitting, key=lambda pair: pair[0])
    return best


def label_inputs(chain: Chain) -> tuple[str, ...]:
    """The ways in which an embedding of this width can meet the latent, the usual one first; none that fit: ()."""
    if chain.embedding is None:
        return ("beside",)
    width, inputs = chain.embedding.shape[1], chain.links[0].inputs
    if width == inputs and chain.embedding.size:
        return ("times",)
    return ("embedded_before", "embedded_after") if width < inputs and chain.embedding.size else ()


def sizes_told(contents: Contents) -> frozenset[int]:
    """The sizes of pictures that the JSON beside the file names."""
    values = (contents.config.get(key) for key in _SIZE_KEYS)
    sizes = (value[-1] if isinstance(value, list) and value else value for value in values)
    return frozenset(size for size in sizes if isinstance(size, int) and not isinstance(size, bool))


def numbers_told(contents: Contents) -> Mapping[str, Any]:
    """The plain numbers of the JSON beside the file: they are worth keeping."""
    numbers = {key: value for key, value in contents.config.items() if isinstance(value, (int, float))}
    return {str(key)[:60]: value for key, value in numbers.items() if abs(value) < _LARGEST_NUMBER}


def has_batch_norm(chain: Chain) -> bool:
    """Whether any layer is normalised by the statistics of training."""
    return any(link.norm_kind in ("batch", "flat_batch") for link in chain.links)


def hidden_norm(chain: Chain) -> str:
    """The normalisation that holds no numbers, where the numbering has room for one and there is no other; else ""."""
    bare = all(link.norm is None for link in chain.links)
    return "instance" if bare and any(_is_roomy(link) for link in chain.links[1:]) else ""


def _is_roomy(link: Link) -> bool:
    return not link.apart and (link.hidden_before or 0) > (1 if link.kind != "convolution" else 2)


def _layer(chain: Chain, guess: Guess, number: int) -> dict[str, Any]:
    link, move = chain.links[number], guess.moves[number]
    settings: dict[str, Any] = {"kind": link.kind, "width": link.maps, "kernel": link.kernel, "bias": link.bias}
    if link.kind == "linear" and number + 1 == len(chain.links):
        settings |= {"width": guess.channels, "kernel": guess.resolution}
    if link.kind != "linear":
        settings |= {"stride": move.stride, "padding": move.padding, "output_padding": move.output_padding}
    if move.enlarge > 1:
        settings |= {"enlarge": move.enlarge, "smooth": guess.smooth}
    settings |= _norm(chain, guess, number)
    settings["activation"] = _activation(chain, guess, number)
    if link.norm_last and link.norm is not None:
        settings["norm_last"] = True
    return settings


def _norm(chain: Chain, guess: Guess, number: int) -> dict[str, Any]:
    link = chain.links[number]
    following = chain.links[number + 1] if number + 1 < len(chain.links) else None
    if link.norm is None:
        roomy = guess.hidden_norm and following is not None and _is_roomy(following)
        return {"norm": guess.hidden_norm, "affine": False} if roomy else {}
    kind = link.norm_kind
    settings: dict[str, Any] = {"norm": guess.bare_norm if kind == "instance" else kind}
    if settings["norm"] == "group":
        settings["groups"] = guess.groups
    if "weight" not in link.norm.tensors:
        settings["affine"] = False
    if guess.epsilon != EPSILON and not (following is not None and following.opened):
        settings["epsilon"] = guess.epsilon
    return settings


def _activation(chain: Chain, guess: Guess, number: int) -> str:
    """What follows a layer; the numbering of a Sequential tells where nothing can."""
    link = chain.links[number]
    if link.slope is not None:
        return "prelu" if link.slope.weight.shape == (1,) else "channel_prelu"
    if number + 1 == len(chain.links):
        return guess.output
    following, doubled = chain.links[number + 1], guess.moves[number + 1].enlarge > 1
    hidden = following.hidden_before
    if link.norm_last or following.apart or hidden is None:
        return "none" if guess.idle_start and _is_open_start(chain, number) else guess.activation
    return "none" if hidden == (1 if doubled else 0) else guess.activation


def _is_open_start(chain: Chain, number: int) -> bool:
    """Whether this is a first linear layer, before convolutions, behind which the names show nothing."""
    link, following = chain.links[number], chain.links[min(number + 1, len(chain.links) - 1)]
    return number == 0 and link.kind == "linear" != following.kind and link.norm is None and link.slope is None


def _standard_width(layers: list[dict[str, Any]], guess: Guess) -> int:
    """The width of the standard DCGAN that these layers are; 0 if they are another."""
    common = {"kind": "transposed", "kernel": 4, "bias": False, "output_padding": 0}
    hidden = common | {"norm": "batch", "activation": "relu"}
    base = int(layers[-2]["width"]) if len(layers) > 1 else 0
    expected = [
        hidden | {"width": base * min(2**level, 8), "stride": 2, "padding": 1}
        for level in reversed(range(len(layers) - 1))
    ]
    if not expected or guess.resolution != 2 ** (len(layers) + 1) or not 8 <= guess.resolution <= 256:
        return 0
    expected[0] |= {"stride": 1, "padding": 0}
    last = common | {"width": guess.channels, "stride": 2, "padding": 1, "activation": "tanh"}
    return base if layers == [*expected, last] and base <= 1024 else 0


def alternatives(chain: Chain, best: Guess) -> Iterator[tuple[str, dict[str, Any]]]:
    """Other values of what cannot be told, likeliest first, as changes to the best guess."""
    for label_input in label_inputs(chain)[1:]:
        yield {"embedded_after": "Label behind the latent"}.get(label_input, label_input), {"label_input": label_input}
    if any(link.norm_kind == "instance" for link in chain.links):
        yield "Normalised all together", {"bare_norm": "group", "groups": 1}
        if all(link.maps % 8 == 0 for link in chain.links if link.norm_kind == "instance"):
            yield "Normalised in eight groups", {"bare_norm": "group", "groups": 8}
    if _is_open_start(chain, 0) and (chain.links[1].apart or chain.links[1].hidden_before is None):
        yield "First layer without ReLU", {"idle_start": True}
    if any(move.enlarge > 1 for move in best.moves):
        yield "Enlarged smoothly", {"smooth": True}
    if best.hidden_norm:
        yield "Not normalised", {"hidden_norm": ""}
    other = "leaky_relu" if best.activation == "relu" else "relu"
    name = {"leaky_relu": "Leaky ReLU", "relu": "ReLU"}[other]
    yield name, {"activation": other}
    yield "Values from 0 to 1", {"output": "sigmoid"}
    if has_batch_norm(chain):
        if best.epsilon == EPSILON:
            yield "Softer normalisation (ε = 0.8)", {"epsilon": ODD_EPSILON}
        else:
            yield "Usual normalisation (ε = 0.00001)", {"epsilon": EPSILON}
    yield "No output function", {"output": "none"}
    yield f"{name}, values from 0 to 1", {"activation": other, "output": "sigmoid"}
