from __future__ import annotations

import itertools
import math
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedfit.report.svg import LINE, Axis, Frame, Label, format_tick, path, spread, tag, ticks

FRAME = Frame(x=Axis(low=0, high=10, start=0, end=100), y=Axis(low=0, high=1, start=50, end=0), width=100, height=50)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(3, 8))
def test_ticks_are_round_even_and_inside(low, length, count):
    high = low + length
    marks = ticks(low, high, count)
    assert 1 <= len(marks) <= 2 * count + 1
    slack = 1e-6 * length + 1e-9 * abs(low)
    assert all(low - slack <= mark <= high + slack for mark in marks)
    steps = [b - a for a, b in itertools.pairwise(marks)]
    assert all(step == pytest.approx(steps[0], rel=1e-3) for step in steps)
    for step in steps[:1]:
        leading = step / 10 ** math.floor(math.log10(step * 1.0001))
        assert min(abs(leading - m) for m in (1, 2, 2.5, 5, 10)) < 0.01


def test_a_range_without_length_has_one_tick_and_one_without_end_none():
    assert ticks(2.0, 2.0) == [2.0]
    assert ticks(math.nan, 1.0) == []


@given(st.floats(-1e5, 1e5), st.floats(1e-7, 1e5))
def test_ticks_of_an_axis_never_read_alike(low, length):
    marks = ticks(low, low + max(length, abs(low) * 1e-5))
    assert len({format_tick(mark, marks) for mark in marks}) == len(marks)


@pytest.mark.parametrize(
    ("marks", "words"),
    [
        ([0.0, 500.0, 1000.0], ["0", "500", "1,000"]),
        ([0.0, 0.25, 0.5], ["0.00", "0.25", "0.50"]),
        ([0.0, 0.001, 0.002], ["0.000", "0.001", "0.002"]),
        ([0.0, 2e-5, 4e-5], ["0", "2e-5", "4e-5"]),
        ([-0.5, 0.0, 0.5], ["-0.5", "0.0", "0.5"]),
    ],
)
def test_ticks_are_written_as_people_write_them(marks, words):
    assert [format_tick(mark, marks) for mark in marks] == words


@given(st.lists(st.floats(0, 200), min_size=1, max_size=6))
def test_labels_are_moved_apart_and_stay_in_the_picture(wishes):
    placed = spread([Label(text=str(y), y=y, role="model") for y in wishes], 0, 200)
    ys = [label.y for label in placed]
    assert all(b - a >= LINE - 1e-6 for a, b in itertools.pairwise(ys))
    assert min(ys) >= -1e-6
    assert max(ys) <= 200 + 1e-6
    assert [float(label.text) for label in placed] == sorted(wishes)


def test_labels_with_room_stay_where_they_want_to_be():
    labels = [Label(text="a", y=20, role="model"), Label(text="b", y=60, role="model")]
    assert spread(labels, 0, 100) == labels


def test_an_element_escapes_texts_and_attributes():
    element = tag("text", "<b>&", tag("tspan", "safe"), class_='x" onload="1', stroke_width=2)
    parsed = ElementTree.fromstring(str(element))
    assert parsed.text == "<b>&"
    assert parsed[0].text == "safe"
    assert parsed.attrib == {"class": 'x" onload="1', "stroke-width": "2"}


def test_a_line_is_broken_where_a_value_is_missing():
    drawn = path([(0, 0.0), (1, 0.5), (2, math.nan), (3, 1.0), (4, 0.0)], FRAME, role="model")
    assert ElementTree.fromstring(str(drawn)).attrib["d"] == "M0 50L10 25M30 0L40 50"


def test_a_logarithmic_axis_gives_equal_room_to_equal_factors():
    axis = Axis(low=1, high=100, start=0, end=10, log=True)
    assert [axis(v) for v in (1, 10, 100)] == [0, 5, 10]
