"""Larger nets that teach LeNet: pixels [n, 1, 28, 28] -> three stages of convolutions -> logits [n, 10]."""

import torch
from torch import Tensor, nn

from digit import CLASS_NAMES, SIDE


def block(inputs: int, outputs: int, side: int = 3, padding: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, side, padding=padding, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class Teacher(nn.Module):
    """A convolutional net with batch normalization; 209 thousand parameters at width 24."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            block(1, width, 5, 0),
            nn.MaxPool2d(2),
            block(width, 2 * width),
            block(2 * width, 2 * width),
            nn.MaxPool2d(2),
            block(2 * width, 4 * width),
            block(4 * width, 4 * width),
            nn.Flatten(),
            nn.Linear(4 * width * ((SIDE - 4) // 4) ** 2, len(CLASS_NAMES)),
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # missing in its stubs

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits, float32 [n, 10], of normalized pixels, float32 [n, 1, 28, 28]."""
        device = pixels.device.type
        quick = device == "cuda" or torch.cpu._is_avx512_bf16_supported()  # multiplies bfloat16 twice as fast
        with torch.autocast(device, torch.bfloat16, enabled=quick, cache_enabled=False):
            return self.layers(pixels).float()
