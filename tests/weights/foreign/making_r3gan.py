"""An R3GAN as its authors lay it out, from random weights and plain formulas, and files of it as they pickle them."""

import torch
import torch.nn.functional as F
from torch import nn

from tests.weights.foreign.making_nvlabs import EasyDict, Global, Instance, module_state, write_pickle

FILTER = torch.tensor([1.0, 3.0, 3.0, 1.0])


class Layered(nn.Module):
    """A module whose weight lies one name deeper."""

    def __init__(self, *sizes, **rest):
        super().__init__()
        self.Layer = nn.Conv2d(*sizes, bias=False, **rest)


class BiasedActivation(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.Bias = nn.Parameter(torch.randn(width) * 0.3)


class InterpolativeUpsampler(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("Kernel", torch.outer(FILTER, FILTER) / 64)


class ResidualBlock(nn.Module):
    def __init__(self, width, groups, expansion):
        super().__init__()
        wide = width * expansion
        self.LinearLayer1, self.LinearLayer3 = Layered(width, wide, 1), Layered(wide, width, 1)
        self.LinearLayer2 = Layered(wide, wide, 3, padding=1, groups=groups)
        self.NonLinearity1, self.NonLinearity2 = BiasedActivation(wide), BiasedActivation(wide)


class UpsampleLayer(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.Resampler = InterpolativeUpsampler()
        if inputs != outputs:
            self.LinearLayer = Layered(inputs, outputs, 1)


class GenerativeBasis(nn.Module):
    def __init__(self, inputs, width):
        super().__init__()
        self.Basis = nn.Parameter(torch.randn(width, 4, 4))
        self.LinearLayer = nn.Linear(inputs, width, bias=False)


class GeneratorStage(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.Layers = nn.ModuleList(layers)
        self.DataType = torch.bfloat16


class Network(nn.Module):
    """R3GAN.Networks.Generator: its layers, without their mathematics, which `draw` has."""

    def __init__(self, *, z_dim, widths, groups, blocks, expansion=2, classes=0, embedding=0):
        super().__init__()
        stages = []
        for place, width in enumerate(widths):
            entrance = UpsampleLayer(widths[place - 1], width) if place else GenerativeBasis(z_dim + embedding, width)
            parts = [ResidualBlock(width, groups[place], expansion) for _ in range(blocks[place])]
            stages.append(GeneratorStage(entrance, *parts))
        self.MainLayers = nn.ModuleList(stages)
        self.AggregationLayer = Layered(widths[-1], 3, 1)
        if classes:
            self.EmbeddingLayer = nn.Linear(classes, embedding, bias=False)


class InterpolativeDownsampler(InterpolativeUpsampler):
    pass


class DownsampleLayer(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.Resampler = InterpolativeDownsampler()
        if inputs != outputs:
            self.LinearLayer = Layered(inputs, outputs, 1)


class DiscriminativeBasis(nn.Module):
    def __init__(self, width, outputs):
        super().__init__()
        self.Basis = nn.Conv2d(width, width, 4, groups=width, bias=False)
        self.LinearLayer = nn.Linear(width, outputs, bias=False)


class DiscriminatorStage(GeneratorStage):
    pass


class Critic(nn.Module):
    """R3GAN.Networks.Discriminator: its layers, without their mathematics, which `judge` has."""

    def __init__(self, *, widths, groups, blocks, expansion=2, classes=0, embedding=0):
        super().__init__()
        stages = []
        for place in reversed(range(len(widths))):
            parts = [ResidualBlock(widths[place], groups[place], expansion) for _ in range(blocks[place])]
            leaving = (
                DownsampleLayer(widths[place], widths[place - 1])
                if place
                else DiscriminativeBasis(widths[0], embedding or 1)
            )
            stages.append(DiscriminatorStage(*parts, leaving))
        self.MainLayers = nn.ModuleList(stages)
        self.ExtractionLayer = Layered(3, widths[-1], 1)
        if classes:
            self.EmbeddingLayer = nn.Linear(classes, embedding, bias=False)


class Wrapper(nn.Module):
    """training.networks.Generator, or the Discriminator beside it."""

    def __init__(self, model, *, z_dim, classes, resolution):
        super().__init__()
        self.Model, self.z_dim, self.c_dim, self.img_resolution = model, z_dim, classes, resolution


def make(seed=0, *, z_dim=6, widths=(12, 12, 8), groups=(4, 3, 2), blocks=(1, 2, 1), classes=0, embedding=0):
    """A generator of random weights, small enough for a test."""
    torch.manual_seed(seed)
    model = Network(z_dim=z_dim, widths=widths, groups=groups, blocks=blocks, classes=classes, embedding=embedding)
    return Wrapper(model.eval(), z_dim=z_dim, classes=classes, resolution=4 * 2 ** (len(widths) - 1))


def make_critic(seed=1, *, z_dim=6, widths=(12, 12, 8), groups=(4, 3, 2), blocks=(1, 2, 1), classes=0, embedding=0):
    """The discriminator for the pictures of `make` with the same arguments."""
    torch.manual_seed(seed)
    model = Critic(widths=widths, groups=groups, blocks=blocks, classes=classes, embedding=embedding)
    return Wrapper(model.eval(), z_dim=z_dim, classes=classes, resolution=4 * 2 ** (len(widths) - 1))


@torch.no_grad()
def judge(network, images, label=None):
    """Its logits [n, 1], in double precision by the plainest formulas."""
    model = network.Model
    images = mixed(images.double(), model.ExtractionLayer)
    for stage in model.MainLayers:
        *blocks, leaving = stage.Layers
        for block in blocks:
            images = changed(images, block)
        if isinstance(leaving, DiscriminativeBasis):
            sums = torch.einsum("nchw,chw->nc", images, leaving.Basis.weight[:, 0].double())
            images = torch.einsum("nc,oc->no", sums, leaving.LinearLayer.weight.double())
        else:
            images = shrink(images)
            images = mixed(images, leaving.LinearLayer) if hasattr(leaving, "LinearLayer") else images
    if label is None:
        return images
    return (images * (label.double() @ model.EmbeddingLayer.weight.T.double())).sum(dim=1, keepdim=True)


def changed(images, block):
    """What a residual block makes of pictures."""
    inner = bent(mixed(images, block.LinearLayer1), block.NonLinearity1)
    inner = bent(slid(inner, block.LinearLayer2), block.NonLinearity2)
    return images + mixed(inner, block.LinearLayer3)


def shrink(images):
    """[1, 3, 3, 1] / 8 along rows and columns at every second pixel: 2p - 1 … 2p + 2 come to p, zeros outside."""
    for axis in (2, 3):
        half = images.shape[axis] // 2
        small = images.narrow(axis, 0, half) * 0
        for place in range(half):
            for offset, tap in zip((-1, 0, 1, 2), FILTER / 8, strict=True):
                if 0 <= 2 * place + offset < 2 * half:
                    small.select(axis, place).add_(images.select(axis, 2 * place + offset), alpha=float(tap))
        images = small
    return images


@torch.no_grad()
def draw(network, z, label=None):
    """Its pictures, in double precision by the plainest formulas: one number after another where that is feasible."""
    model = network.Model
    latents = z if label is None else torch.cat([z, label @ model.EmbeddingLayer.weight.T], dim=1)
    latents = latents.double()
    images = None
    for stage in model.MainLayers:
        entrance, *blocks = stage.Layers
        if images is None:
            weights = torch.einsum("ni,ci->nc", latents, entrance.LinearLayer.weight.double())
            images = torch.einsum("nc,chw->nchw", weights, entrance.Basis.double())
        else:
            images = enlarge(mixed(images, entrance.LinearLayer) if hasattr(entrance, "LinearLayer") else images)
        for block in blocks:
            images = changed(images, block)
    return mixed(images, model.AggregationLayer)


def mixed(images, layer):
    """A convolution of one pixel."""
    return torch.einsum("nihw,oi->nohw", images, layer.Layer.weight[:, :, 0, 0].double())


def bent(images, layer):
    """Bias, then leaky ReLU."""
    shifted = images + layer.Bias.double()[None, :, None, None]
    return torch.where(shifted > 0, shifted, 0.2 * shifted)


def slid(images, layer):
    """A grouped convolution of 3 x 3 on zeros, group by group and tap by tap."""
    weight = layer.Layer.weight.double()
    height, width = images.shape[2:]
    padded = F.pad(images, (1, 1, 1, 1))
    outputs, inputs = weight.shape[:2]
    per_group = outputs // (images.shape[1] // inputs)
    result = images.new_zeros(len(images), outputs, height, width)
    for group in range(images.shape[1] // inputs):
        chosen, made = slice(group * inputs, (group + 1) * inputs), slice(group * per_group, (group + 1) * per_group)
        for row in range(3):
            for column in range(3):
                window = padded[:, chosen, row : row + height, column : column + width]
                result[:, made] += torch.einsum("nihw,oi->nohw", window, weight[made, :, row, column])
    return result


def enlarge(images):
    """Zeros between the pixels, then [1, 3, 3, 1] / 4 along rows and columns: a pixel at p goes to 2p - 1 … 2p + 2."""
    for axis in (2, 3):
        size = images.shape[axis]
        shape = list(images.shape)
        shape[axis] = 2 * size
        grown = images.new_zeros(shape)
        for place in range(size):
            for offset, tap in zip((-1, 0, 1, 2), FILTER / 4, strict=True):
                if 0 <= 2 * place + offset < 2 * size:
                    grown.select(axis, 2 * place + offset).add_(images.select(axis, place), alpha=float(tap))
        images = grown
    return images


NAMES = {
    Wrapper: ("training.networks", "Generator"),
    Network: ("R3GAN.Networks", "Generator"),
    GeneratorStage: ("R3GAN.Networks", "GeneratorStage"),
    GenerativeBasis: ("R3GAN.Networks", "GenerativeBasis"),
    UpsampleLayer: ("R3GAN.Networks", "UpsampleLayer"),
    ResidualBlock: ("R3GAN.Networks", "ResidualBlock"),
    Layered: ("R3GAN.Networks", "Convolution"),
    BiasedActivation: ("R3GAN.FusedOperators", "BiasedActivationCUDA"),
    InterpolativeUpsampler: ("R3GAN.Resamplers", "InterpolativeUpsamplerCUDA"),
    InterpolativeDownsampler: ("R3GAN.Resamplers", "InterpolativeDownsamplerCUDA"),
    Critic: ("R3GAN.Networks", "Discriminator"),
    DiscriminatorStage: ("R3GAN.Networks", "DiscriminatorStage"),
    DiscriminativeBasis: ("R3GAN.Networks", "DiscriminativeBasis"),
    DownsampleLayer: ("R3GAN.Networks", "DownsampleLayer"),
    nn.ModuleList: ("torch.nn.modules.container", "ModuleList"),
    nn.Linear: ("torch.nn.modules.linear", "Linear"),
    nn.Conv2d: ("torch.nn.modules.conv", "Conv2d"),
}


def write(path, network, *, critic=None, kimg=0, wrapper="Generator", protocol=4):
    """A snapshot as the authors' program writes it: plain objects of classes that only that program knows."""
    generator = as_instance(network, Global("training.networks", wrapper))
    judge_of_it = None if critic is None else as_instance(critic, Global("training.networks", "Discriminator"))
    tree = {
        "G": generator, "D": judge_of_it, "G_ema": generator, "augment_pipe": None,
        "training_set_kwargs": EasyDict(path="somewhere", use_labels=False), "cur_nimg": kimg * 1000,
    }  # fmt: skip
    return write_pickle(path, tree, protocol)


def as_instance(module, kind=None):
    """A module as pickle writes it, with all that its `__dict__` holds."""
    state = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    children = {name: as_instance(child) for name, child in module._modules.items()}
    state = module_state(dict(module._parameters), dict(module._buffers), children, **state)
    return Instance(kind or Global(*NAMES[type(module)]), state)
