"""StyleGAN2 in rosinality's form: files written from networks of ours, and his formulation of the mathematics.

The two functions that compute, `paint` and `judge`, read state dicts by his names and do everything his way (weights of
their own for each picture, scaled before; one filter after another), so that they check more than our own renaming.
"""

import argparse
import math

import torch
import torch.nn.functional as F

TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0])
FILTER = torch.outer(TAPS, TAPS) / 64


def write_rosinality(path, generator, discriminator=None, *, training=True, average=True, prefix="", noise=True):
    """A checkpoint with `g_ema`, and as wished `g`, `d`, `args` and `latent_avg`.

    Args:
        training: with what only a training run saves, an argparse.Namespace among it.
        prefix: before every name; if given, the file is a `state_dict` that holds an encoder besides, as pSp's do.
    """
    state = generator_state(generator, noise)
    if prefix:
        embedded = {f"{prefix}{name}": tensor for name, tensor in state.items()}
        saved = {
            "state_dict": {"encoder.input_layer.0.weight": torch.randn(4, 3, 3, 3), **embedded},
            "opts": {"size": 32},
        }
    else:
        saved = {"g_ema": state}
    if discriminator is not None:
        saved["d"] = discriminator_state(discriminator)
    if training:
        arguments = argparse.Namespace(path="/home/someone/data", size=generator.resolution, batch=16, r1=10.0)
        saved |= {"args": arguments, "ada_aug_p": 0.2, "g": {name: tensor * 0.5 for name, tensor in state.items()}}
        saved |= {"g_optim": {"state": {}, "param_groups": [{"lr": 0.002, "params": [0]}]}}
    if average:
        saved["latent_avg"] = generator.mapping.w_avg.clone()
    torch.save(saved, path)
    return path


def generator_state(generator, noise=True):
    """A state dict by rosinality's names."""
    ours = generator.state_dict()
    state = {}
    for place in range(generator.settings.mapping_layers):
        for kind in ("weight", "bias"):
            state[f"style.{place + 1}.{kind}"] = ours[f"mapping.fc{place}.{kind}"]
    state["input.input"] = ours["synthesis.b4.const"][None]
    sizes = generator.settings.resolutions
    convolutions = ["b4.conv1", *(f"b{size}.conv{half}" for size in sizes[1:] for half in (0, 1))]
    for place, name in enumerate(convolutions):
        target = "conv1" if place == 0 else f"convs.{place - 1}"
        state |= _modulated(ours, f"synthesis.{name}", target)
        state[f"{target}.noise.weight"] = ours[f"synthesis.{name}.noise_strength"][None]
        state[f"{target}.activate.bias"] = ours[f"synthesis.{name}.bias"]
        if noise:
            state[f"noises.noise_{place}"] = ours[f"synthesis.{name}.noise_const"][None, None]
        if name.endswith("conv0"):
            state[f"{target}.conv.blur.kernel"] = FILTER * 4
    for place, size in enumerate(sizes):
        target = "to_rgb1" if place == 0 else f"to_rgbs.{place - 1}"
        state |= _modulated(ours, f"synthesis.b{size}.torgb", target)
        state[f"{target}.bias"] = ours[f"synthesis.b{size}.torgb.bias"].reshape(1, -1, 1, 1)
        if place:
            state[f"{target}.upsample.kernel"] = FILTER * 4
    return {name: tensor.clone() for name, tensor in state.items()}


def _modulated(ours, source, target):
    return {
        f"{target}.conv.weight": ours[f"{source}.weight"][None],
        f"{target}.conv.modulation.weight": ours[f"{source}.affine.weight"],
        f"{target}.conv.modulation.bias": ours[f"{source}.affine.bias"],
    }


def discriminator_state(discriminator):
    """A state dict by rosinality's names."""
    ours = discriminator.state_dict()
    sizes = discriminator.settings.resolutions[:0:-1]
    state = {
        "convs.0.0.weight": ours[f"b{sizes[0]}.fromrgb.weight"], "convs.0.1.bias": ours[f"b{sizes[0]}.fromrgb.bias"],
        "final_conv.0.weight": ours["b4.conv.weight"], "final_conv.1.bias": ours["b4.conv.bias"],
    }  # fmt: skip
    for place, size in enumerate(sizes, start=1):
        block, target = f"b{size}", f"convs.{place}"
        state[f"{target}.conv1.0.weight"] = ours[f"{block}.conv0.weight"]
        state[f"{target}.conv1.1.bias"] = ours[f"{block}.conv0.bias"]
        state[f"{target}.conv2.0.kernel"] = FILTER
        state[f"{target}.conv2.1.weight"] = ours[f"{block}.conv1.weight"]
        state[f"{target}.conv2.2.bias"] = ours[f"{block}.conv1.bias"]
        state[f"{target}.skip.0.kernel"] = FILTER
        state[f"{target}.skip.1.weight"] = ours[f"{block}.skip.weight"]
    for place, name in enumerate(("fc", "out")):
        for kind in ("weight", "bias"):
            state[f"final_linear.{place}.{kind}"] = ours[f"b4.{name}.{kind}"]
    return {name: tensor.clone() for name, tensor in state.items()}


def paint(state, z):
    """Pictures of latents z [n, z_dim], with the noise of the file."""
    w = style(state, z)
    images = state["input.input"].repeat(len(z), 1, 1, 1)
    images = _styled(state, "conv1", images, w, state["noises.noise_0"])
    picture = _rgb(state, "to_rgb1", images, w)
    place = 0
    while f"to_rgbs.{place}.bias" in state:
        for half in (0, 1):
            noise = state[f"noises.noise_{2 * place + half + 1}"]
            images = _styled(state, f"convs.{2 * place + half}", images, w, noise, up=half == 0)
        picture = _resized(picture, FILTER * 4, up=2, padding=(2, 1)) + _rgb(state, f"to_rgbs.{place}", images, w)
        place += 1
    return picture


def style(state, z):
    """z [n, z_dim] -> w [n, w_dim]."""
    hidden = z * torch.rsqrt((z**2).mean(dim=1, keepdim=True) + 1e-8)
    place = 1
    while f"style.{place}.weight" in state:
        weight, bias = state[f"style.{place}.weight"], state[f"style.{place}.bias"]
        hidden = _leaky(hidden @ (weight * (0.01 / math.sqrt(weight.shape[1]))).T + bias * 0.01)
        place += 1
    return hidden


def judge(state, images):
    """Logits [n, 1] of pictures."""
    features = _plain(images, state["convs.0.0.weight"], state["convs.0.1.bias"])
    place = 1
    while f"convs.{place}.skip.1.weight" in state:
        name = f"convs.{place}"
        main = _plain(features, state[f"{name}.conv1.0.weight"], state[f"{name}.conv1.1.bias"])
        main = _resized(main, FILTER, padding=(2, 2))
        main = _plain(main, state[f"{name}.conv2.1.weight"], state[f"{name}.conv2.2.bias"], stride=2)
        skip = _resized(features, FILTER, padding=(1, 1))
        features = (main + _plain(skip, state[f"{name}.skip.1.weight"], None, stride=2)) / math.sqrt(2)
        place += 1
    return _end(state, features)


def _end(state, features):
    count, channels, height, width = features.shape
    group = min(count, 4)
    grouped = features.view(group, -1, 1, channels, height, width)
    spread = torch.sqrt(grouped.var(0, unbiased=False) + 1e-8).mean([2, 3, 4], keepdims=True).squeeze(2)
    features = torch.cat([features, spread.repeat(group, 1, height, width)], dim=1)
    features = _plain(features, state["final_conv.0.weight"], state["final_conv.1.bias"]).view(count, -1)
    for place in (0, 1):
        weight, bias = state[f"final_linear.{place}.weight"], state[f"final_linear.{place}.bias"]
        features = features @ (weight / math.sqrt(weight.shape[1])).T + bias
        features = _leaky(features) if place == 0 else features
    return features


def _plain(images, weight, bias, stride=1):
    scaled = weight / math.sqrt(weight[0].numel())
    images = F.conv2d(images, scaled, stride=stride, padding=0 if stride == 2 else weight.shape[2] // 2)
    return images if bias is None else _leaky(images + bias.view(1, -1, 1, 1))


def _styled(state, name, images, w, noise, up=False):
    weight = _weights(state, name, w, demodulate=True)
    count, outputs, inputs = weight.shape[:3]
    images = images.reshape(1, -1, *images.shape[2:])
    if up:
        weight = weight.transpose(1, 2).reshape(count * inputs, outputs, 3, 3)
        images = F.conv_transpose2d(images, weight, stride=2, groups=count)
    else:
        images = F.conv2d(images, weight.reshape(count * outputs, inputs, 3, 3), padding=1, groups=count)
    images = images.view(count, outputs, *images.shape[2:])
    if up:
        images = _resized(images, FILTER * 4, padding=(1, 1))
    images = images + state[f"{name}.noise.weight"] * noise
    return _leaky(images + state[f"{name}.activate.bias"].view(1, -1, 1, 1))


def _rgb(state, name, images, w):
    weight = _weights(state, name, w, demodulate=False)
    pictures = [F.conv2d(image[None], own) for image, own in zip(images, weight, strict=True)]
    return torch.cat(pictures) + state[f"{name}.bias"]


def _weights(state, name, w, demodulate):
    """Convolution weights for each picture [n, out, in, k, k]."""
    matrix, bias = state[f"{name}.conv.modulation.weight"], state[f"{name}.conv.modulation.bias"]
    styles = w @ (matrix / math.sqrt(matrix.shape[1])).T + bias
    weight = state[f"{name}.conv.weight"]
    weight = weight / math.sqrt(weight[0, 0].numel()) * styles.view(len(w), 1, -1, 1, 1)
    return weight * torch.rsqrt(weight.pow(2).sum([2, 3, 4], keepdim=True) + 1e-8) if demodulate else weight


def _resized(images, kernel, up=1, padding=(0, 0)):
    """Zeros between the pixels, a border, and a filter."""
    count, channels, height, width = images.shape
    spread = torch.zeros(count, channels, height * up, width * up)
    spread[:, :, ::up, ::up] = images
    before, after = padding
    spread = F.pad(spread, (before, after, before, after))
    filters = kernel.flip(0, 1)[None, None].repeat(channels, 1, 1, 1)
    return F.conv2d(spread, filters, groups=channels)


def _leaky(values):
    return F.leaky_relu(values, 0.2) * math.sqrt(2)
