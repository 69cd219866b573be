"""A drawing on a transparent ground -> opaque pixels."""

import cv2
import numpy as np

SAMPLED = 256  # pixels; a sample of about so many a side tells as well as the whole
COLOURFUL = 48  # levels of a channel; ink that varies by more is of several colours


def opaque(pixels: np.ndarray) -> np.ndarray:
    """A drawing on a transparent ground: its alpha, if it is of one colour; else laid on its own median colour."""
    if pixels.ndim < 3 or pixels.shape[2] < 4:
        return pixels
    alpha = cv2.extractChannel(pixels, 3)
    clearest = alpha.min()
    if clearest == 255:
        return cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB)
    step = max(max(alpha.shape) // SAMPLED, 1)  # a sample tells as well as the whole
    shown = pixels[::step, ::step, :3][alpha[::step, ::step] > 127].astype(np.int16)
    if not len(shown):
        return alpha
    median = np.median(shown, axis=0)
    varied = (np.abs(shown - median).max(axis=1) > COLOURFUL).mean() > 0.02
    if not varied and clearest < 128:  # one colour: the shape is in the alpha
        return alpha
    inked = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGBA2mRGBA), cv2.COLOR_RGBA2RGB)
    ground = np.outer(np.arange(255, -1, -1) / 255, median)[:, None].astype(np.uint8)  # what each alpha lets through
    return cv2.add(inked, cv2.LUT(cv2.merge([alpha] * 3), ground))
