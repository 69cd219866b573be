"""From MNIST to weights, from weights to measured numbers and pictures, and from both to the archive that is served.

python -m train fit | evaluate | calibrate | pack | ablate | robustness
"""
