"""LeNet: pixels [n, 1, 28, 28] -> two convolutions -> features [n, 256] -> three linear layers -> logits [n, 10].

The architecture follows Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-Based Learning Applied to Document
Recognition, Proc. IEEE 86(11), 1998, with max-pooling and ReLU in place of its subsampling and tanh. 44,426 parameters.
"""

from torch import Tensor, nn


class LeNet(nn.Module):
    """Handwritten-digit classifier.

    Args:
        output_dim: number of classes. The default matters: TorchServe builds the model without arguments.
    """

    def __init__(self, output_dim: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 5),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(6, 16, 5),
            nn.MaxPool2d(2),
            nn.ReLU(),
        )
        self.classifier = nn.Sequential(
            nn.Linear(16 * 4 * 4, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, output_dim),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits, float32 [n, output_dim], of normalized pixels, float32 [n, 1, 28, 28]."""
        return self.classifier(self.features(pixels).flatten(1))
