"""LeNet: pixels [n, 1, 28, 28] -> two convolutions -> features [n, 256] -> three linear layers -> logits [n, 10].

Classes and size of the picture are those of model.json, here 10 and 28.
The architecture follows Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-Based Learning Applied to Document
Recognition, Proc. IEEE 86(11), 1998, with max-pooling and ReLU in place of its subsampling and tanh. 44,426 parameters.
"""

from torch import Tensor, nn

from digit import CLASS_NAMES, SIDE

FEATURES_SIDE = ((SIDE - 4) // 2 - 4) // 2  # of what two convolutions and poolings leave: 4


class LeNet(nn.Module):
    """Classifier of pictures such as handwritten digits.

    Args:
        output_dim: number of classes. The default matters: TorchServe builds the model without arguments.
    """

    def __init__(self, output_dim: int = len(CLASS_NAMES)) -> None:
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
            nn.Linear(16 * FEATURES_SIDE**2, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, output_dim),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits, float32 [n, output_dim], of normalized pixels, float32 [n, 1, SIDE, SIDE]."""
        return self.classifier(self.features(pixels).flatten(1))
