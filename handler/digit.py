"""What a digit is to this service: its ten classes, the size of its picture and the normalization of its pixels.

The one place where these facts are written; training, packing and serving import them from here, and the archive
carries this very file to the worker.
"""

CLASS_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SIDE = 28  # pixels; MNIST's pictures are SIDE x SIDE, uint8, light ink (255) on dark ground (0)

# Mean and standard deviation of the 60,000 training pictures, of pixels scaled to [0, 1].
MEAN = 0.1307
STD = 0.3081
