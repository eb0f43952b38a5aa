"""Which number format this machine computes fastest in."""

from __future__ import annotations

import functools
from typing import Any

import torch


@functools.cache
def cpu_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 matrices in hardware (AMX or AVX512-BF16)."""
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def quick_dtype() -> torch.dtype:
    """bfloat16 where the processor has units for it, float32 elsewhere."""
    return torch.bfloat16 if cpu_has_bfloat16() else torch.float32
