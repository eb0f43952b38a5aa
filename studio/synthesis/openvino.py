"""OpenVINO on processors: bfloat16 matrix units where there are any, a graph compiled in a second, no compiler needed.

What styles decide stays in float32 PyTorch (`Staged.modulate`); the pixels' part is traced, translated and compiled once,
and kept on disk as the plug-in's own blob, under a name that says model, span, version and number format.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.onnx  # torchvision and torch.jit.trace import parts of it, and fail if two threads meet in there
from torch import Tensor, nn

from studio.errors import NoSpace
from studio.families.base import Generator, Noise, Staged
from studio.ops.precision import quick_dtype
from studio.paths import write_file
from studio.synthesis.backend import Part, Span, State, Unavailable, noises_of, placed, run, staged

log = logging.getLogger(__name__)

_DIGEST_BYTES = 32
_KEPT_BYTES = 2 << 30
_FORMATS = {torch.bfloat16: "bf16", torch.float32: "f32"}


class OpenVINO:
    """Compiled parts of one generator.

    Args:
        generator: exact, float32, on the CPU.
        quick: the same by its prepared form, which says at each picture what styles mean.
        kept: the folder where compiled parts are kept, and the name under which this model's are; None keeps none.
        dtype: of the convolutions; None is the quickest of this machine.
    """

    name = "openvino"

    def __init__(
        self,
        generator: Generator,
        quick: Staged,
        *,
        kept: tuple[Path, str] | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self._generator, self._network, self._quick = generator, staged(generator), quick
        self._kept = kept
        self._dtype = dtype or quick_dtype()

    def part(self, span: Span) -> Part:
        """Compile the stages of a span, or take them from disk. Raises Unavailable."""
        try:
            import openvino
        except ImportError as error:
            raise Unavailable("OpenVINO is not installed") from error
        scales = self._compiled(openvino, span, "scales")
        pixels = self._compiled(openvino, span, "pixels")
        stages = self._network.stages
        heard = slice(sum(stage.noises for stage in stages[: span.first]), sum(s.noises for s in stages[: span.last]))
        return _Compiled(self._generator, (scales, pixels), self._silence(), heard)

    def _compiled(self, openvino: Any, span: Span, what: str) -> Any:
        """What styles mean ("scales", float32) or what is drawn with it ("pixels"), compiled."""
        dtype = self._dtype if what == "pixels" else torch.float32
        path = self._place(span, what, dtype, openvino.__version__)
        compiled = None if path is None else _read(openvino, path, _settings(dtype))
        if compiled is None:
            try:
                compiled = openvino.Core().compile_model(self._model(span, what), "CPU", _settings(dtype))
            except Exception as error:  # tracer and translator raise errors of many kinds, and all mean the same
                raise Unavailable(f"OpenVINO cannot run this network: {error}") from error
            if path is not None:
                _keep(path, compiled)
        return compiled

    def _place(self, span: Span, what: str, dtype: torch.dtype, version: str) -> Path | None:
        if self._kept is None:
            return None
        folder, model = self._kept
        name = f"{model}-{what}-{span.first}-{span.last}-{span.batch}-{int(span.picture_only)}"
        return folder / f"{name}-{_FORMATS[dtype]}-{os.cpu_count()}-{version}.blob".replace("/", "_")

    def _silence(self) -> Noise:
        return tuple(torch.zeros(1, 1, size, size) for size in self._generator.noise_sizes)

    @torch.no_grad()
    def _model(self, span: Span, what: str) -> Any:
        """The OpenVINO model of a span's scales or pixels. The prepared form says the former with fewer operations."""
        plain = torch.zeros(span.batch, self._generator.num_styles, self._generator.style_dim)
        styles = placed(self._generator, plain)
        if what == "scales":
            return _translate(_Scales(self._quick, span), (styles,))
        silence = self._silence()
        before = Span(0, span.first, span.batch, picture_only=False)
        state = run(self._network, before, (), styles, silence) if span.first else ()
        scales = [self._network.modulate(place, styles) for place in range(span.first, span.last)]
        noise = [taken or () for taken in noises_of(self._network.stages[: span.last], silence)][span.first :]
        body = _Pixels(self._network, span, [len(given) for given in (state, *scales, *noise)])
        model = _translate(body, (*state, *itertools.chain(*scales), *itertools.chain(*noise)))
        if self._dtype != torch.float32 and not any(each.get_type_name() == "Convolution" for each in model.get_ops()):
            return _ending_in_a_convolution(model, self._generator.channels)
        return model


def _settings(dtype: torch.dtype) -> dict[str, Any]:
    return {
        "INFERENCE_PRECISION_HINT": _FORMATS[dtype],
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "ENABLE_CPU_PINNING": False,  # the browser may sit on any core
        "INFERENCE_NUM_THREADS": os.cpu_count() or 1,
    }


class _Scales(nn.Module):
    """What the styles mean to all stages of a span, one after the other."""

    def __init__(self, network: Staged, span: Span) -> None:
        super().__init__()
        self.network, self._places = network, range(span.first, span.last)

    def forward(self, styles: Tensor) -> tuple[Tensor, ...]:
        # what is not computed from the styles alone would be no output of its own
        return tuple(scale + 0.0 for place in self._places for scale in self.network.modulate(place, styles))


class _Pixels(nn.Module):
    """The stages of a span as a function of the state, all scales and all noise, which is what can be traced.

    `lengths` are those of the state, of each stage's scales and of each stage's noise."""

    def __init__(self, network: Staged, span: Span, lengths: Sequence[int]) -> None:
        super().__init__()
        self.network, self._span, self._lengths = network, span, lengths

    def forward(self, *flat: Tensor) -> tuple[Tensor, ...]:
        rest = iter(flat)
        state, *each = (tuple(itertools.islice(rest, length)) for length in self._lengths)
        scales, noise = each[: len(each) // 2], each[len(each) // 2 :]
        for place, (wish, heard) in enumerate(zip(scales, noise, strict=True), start=self._span.first):
            state = self.network.run_stage(place, state, wish, heard)
        return state[-1:] if self._span.picture_only else state


def _translate(body: nn.Module, example: tuple[Tensor, ...]) -> Any:
    """The body as an OpenVINO model of exactly the example's shapes."""
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that tracing keeps no branches is what we want
        traced = torch.jit.trace(body, example, check_trace=False)  # type: ignore[no-untyped-call]
        decoder = TorchScriptPythonDecoder(traced)  # must outlive the conversion
        frontend = FrontEndManager().load_by_framework("pytorch")
        model = frontend.convert(frontend.load(decoder))
    model.reshape({place: list(tensor.shape) for place, tensor in zip(model.inputs, example, strict=True)})
    return model


def _ending_in_a_convolution(model: Any, channels: int) -> Any:
    """The same pictures through a 1x1 convolution that changes nothing.

    The plug-in leaves all that follows the last convolution in float32, and takes transposed ones for none."""
    import openvino
    from openvino import opset13

    same = opset13.constant(torch.eye(channels)[:, :, None, None].numpy())
    picture = model.output(0).get_node().input_value(0)
    last = opset13.convolution(picture, same, strides=[1, 1], pads_begin=[0, 0], pads_end=[0, 0], dilations=[1, 1])
    return openvino.Model([last], model.get_parameters(), "ending in a convolution")


class _Compiled:
    """A compiled part. Scales go from one request to the other without a copy; what it answers is a copy."""

    def __init__(self, generator: Generator, compiled: tuple[Any, Any], silence: Noise, heard: slice) -> None:
        self._generator = generator
        scales, pixels = compiled
        self._scales, self._pixels = scales.create_infer_request(), pixels.create_infer_request()
        self._silence, self._heard = silence, heard
        self._outputs = len(pixels.outputs)
        self._state_length = len(pixels.inputs) - len(scales.outputs) - len(silence[heard])
        for place in range(len(scales.outputs)):
            self._pixels.set_input_tensor(self._state_length + place, self._scales.get_output_tensor(place))

    def __call__(self, state: State, styles: Tensor, noise: Noise | None) -> State:
        wish = placed(self._generator, styles).contiguous().numpy()
        self._scales.infer({0: wish}, share_inputs=True, share_outputs=True)
        heard = (noise or self._silence)[self._heard]
        after = len(self._pixels.model_inputs) - len(heard)
        given = {place: tensor.contiguous().numpy() for place, tensor in enumerate(state)}
        given |= {after + place: picture.contiguous().numpy() for place, picture in enumerate(heard)}
        self._pixels.infer(given, share_inputs=True, share_outputs=True)
        answers = (self._pixels.get_output_tensor(place).data for place in range(self._outputs))
        return tuple(torch.from_numpy(answer.copy()) for answer in answers)


# ── compiled parts on disk: a checksum, then the plug-in's blob ──


def _keep(path: Path, compiled: Any) -> None:
    """Write a compiled part; the least recently used ones make room. A full disk only costs the next start a second."""
    blob = io.BytesIO()
    try:
        compiled.export_model(blob)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, hashlib.sha256(blob.getbuffer()).digest() + blob.getvalue())
        kept = sorted(path.parent.glob("*.blob"), key=lambda each: each.stat().st_mtime, reverse=True)
        sizes = itertools.accumulate(each.stat().st_size for each in kept)
        for each, size in zip(kept, sizes, strict=True):
            if size > _KEPT_BYTES:
                each.unlink(missing_ok=True)
    except (OSError, RuntimeError, NoSpace) as error:
        log.info("A prepared form was not kept: %s", error)


def _read(openvino: Any, path: Path, settings: Mapping[str, Any]) -> Any:
    """The compiled part in a file, or None if there is none that can be used."""
    try:
        content = path.read_bytes()
        if hashlib.sha256(memoryview(content)[_DIGEST_BYTES:]).digest() != content[:_DIGEST_BYTES]:
            return None
        os.utime(path)
        return openvino.Core().import_model(content[_DIGEST_BYTES:], "CPU", dict(settings))
    except (OSError, RuntimeError):
        return None
