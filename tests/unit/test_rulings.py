"""Lines: found whether dark or light, level or slightly askew, and painted over without the strokes that cross them."""

import cv2
import numpy as np
import pytest

from rulings import painted_over


def sheet(side: int = 100, paper: int = 230) -> np.ndarray:
    return np.full((side, side), paper, np.uint8)


@pytest.mark.parametrize("askew", [-3, 0, 2])
@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("ink", [40, 180])
def test_a_line_vanishes_and_a_stroke_across_it_stays(askew, width, ink):
    stroke, line = sheet(), sheet()
    cv2.line(stroke, (50, 10), (50, 90), 30, 5)
    cv2.line(line, (0, 60 - askew), (99, 60 + askew), ink, width)
    found = painted_over(np.minimum(stroke, line), 0.0)
    assert found.found == 1
    assert np.abs(found.plane.astype(int) - stroke).max() < 10


def test_light_lines_on_a_dark_sheet():
    plane = sheet(paper=20)
    for place in (20, 50, 80):
        plane[place : place + 2] = plane[:, place : place + 2] = 200
    found = painted_over(plane, 0.0)
    assert found.found == 6
    assert found.plane.max() == 20


def test_what_is_inside_of_a_border():
    plane = sheet()
    cv2.rectangle(plane, (6, 9), (92, 90), 50, 2)
    assert painted_over(plane, 0.0).found == 4
    left, top, right, bottom = painted_over(plane, 0.0).inside
    assert 7 <= left <= 10
    assert 10 <= top <= 13
    assert 89 <= right <= 92
    assert 87 <= bottom <= 90


@pytest.mark.parametrize("corners", [[(30, 20), (70, 20), (40, 85)], [(25, 50), (75, 50)], [(50, 15), (50, 85)]])
def test_a_digits_own_strokes_are_no_lines(corners):
    plane = sheet()
    cv2.polylines(plane, [np.int32(corners)], False, 30, 4)
    found = painted_over(plane, 0.0)
    assert found.found == 0
    assert np.array_equal(found.plane, plane)


@pytest.mark.parametrize("shape", [(1, 1), (1, 128), (128, 1), (2, 90), (7, 7)])
def test_any_shape_gives_a_plane_of_that_shape(shape):
    plane = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert painted_over(plane, 3.0).plane.shape == shape
