import math

import torch
import torch.nn.functional as F

from studio.ops import layers


def test_normalised_rows_have_a_mean_square_of_one():
    rows = layers.normalise(torch.randn(5, 64) * 7)
    assert torch.allclose(rows.square().mean(dim=1), torch.ones(5), atol=1e-5)


def test_equalised_linear_scales_by_fan_in_rate_and_gain():
    inputs, weight, bias = torch.randn(4, 9), torch.randn(3, 9), torch.randn(3)
    expected = F.linear(inputs, weight * 0.01 / 3, bias * 0.01) * 2
    assert torch.allclose(layers.equalised_linear(inputs, weight, bias, rate=0.01, gain=2.0), expected, atol=1e-6)


def test_equalised_weight_keeps_variance():
    weight = layers.equalised_weight(torch.randn(64, 64, 3, 3), gain=2.0)
    assert abs(weight.std().item() * math.sqrt(64 * 9) / 2 - 1) < 0.02


def test_activation_and_limit():
    values = torch.tensor([-10.0, -1.0, 0.0, 2.0, 10.0])
    assert torch.allclose(layers.activate(values.clone()), torch.tensor([-2.0, -0.2, 0.0, 2.0, 10.0]))
    assert layers.activate(values.clone(), clamp=1.5).tolist() == [-1.5, -0.20000000298023224, 0.0, 1.5, 1.5]
    assert layers.limit(values, 0.0) is values


def test_scaling_activations_equals_a_kernel_for_each_picture():
    """Modulated, demodulated convolution as the paper writes it, one picture at a time."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, 6, 5, 5, generator=generator)
    weight, styles = torch.randn(4, 6, 3, 3, generator=generator), torch.randn(3, 6, generator=generator)
    bias, noise = torch.randn(4, generator=generator), torch.randn(3, 1, 5, 5, generator=generator)
    scales = layers.demodulation(styles, weight.square().sum(dim=(2, 3)))
    hidden = F.conv2d(layers.scale_channels(images, styles), weight, padding=1)
    result = layers.finish(hidden, scales, bias, noise, clamp=0.0)
    for picture, style, grain, found in zip(images, styles, noise, result, strict=True):
        kernel = weight * style[None, :, None, None]
        kernel = kernel * (kernel.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).rsqrt()
        expected = F.conv2d(picture[None], kernel, bias, padding=1)[0] + grain
        assert torch.allclose(found, F.leaky_relu(expected, 0.2), atol=1e-5)


def test_to_rgb_equals_a_convolution():
    images, weight, styles = torch.randn(2, 6, 4, 8), torch.randn(3, 6, 1, 1), torch.randn(2, 6)
    expected = F.conv2d(images * styles[:, :, None, None], weight)
    assert torch.allclose(layers.to_rgb(images, weight, styles), expected, atol=1e-5)


def test_minibatch_deviation_takes_every_second_picture_of_four_for_groups_of_two():
    images = torch.zeros(4, 2, 3, 3)
    images[2] = 2.0  # differs from picture 0; pictures 1 and 3 are alike
    added = layers.minibatch_deviation(images, group_size=2)
    assert added.shape == (4, 3, 3, 3)
    assert torch.allclose(added[:, 2, 0, 0], torch.tensor([1.0, 0.0, 1.0, 0.0]), atol=2e-4)


def test_minibatch_deviation_shrinks_its_groups_to_fit_the_batch():
    assert layers.minibatch_deviation(torch.randn(5, 2, 3, 3), group_size=4).shape == (5, 3, 3, 3)
    assert torch.allclose(layers.minibatch_deviation(torch.randn(1, 2, 3, 3), 4)[:, 2], torch.full((1, 3, 3), 1e-4))


def test_label_rows_prefer_no_class_unless_told():
    assert torch.allclose(layers.label_rows(None, torch.zeros(2, 5), 4), torch.full((2, 4), 0.25))
    assert layers.label_rows(None, torch.zeros(2, 5), 0).shape == (2, 0)
    given = torch.tensor([[0, 1]])
    assert layers.label_rows(given, torch.zeros(1, 5), 2).dtype == torch.float32


def test_full_precision_switches_autocast_off():
    inputs = torch.randn(2, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert F.linear(inputs, inputs).dtype == torch.bfloat16
        with layers.full_precision(inputs):
            assert F.linear(inputs, inputs).dtype == torch.float32
