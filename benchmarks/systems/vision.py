"""Lets torchvision load: PyPI's expects operators that a CPU-only PyTorch from elsewhere lacks.

Nothing here calls them, so that it is enough to declare them.
"""

import torch

try:
    import torchvision  # noqa: F401
except RuntimeError:
    for operator in ("nms", "qnms"):
        torch.library.define(f"torchvision::{operator}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
