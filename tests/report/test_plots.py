from __future__ import annotations

import itertools
import math
from xml.etree import ElementTree

import pytest

from embedfit.report.plots import MOST, Bar, Curve, Level, Point, curves, histograms, intervals, scatter


def parse(svg):
    return ElementTree.fromstring(str(svg))


def texts(svg):
    return [element.text for element in parse(svg).iter("text")]


def having(svg, name, role):
    return [e for e in parse(svg).iter(name) if role in e.attrib.get("class", "").split()]


def coordinates(element):
    return [tuple(map(float, pair.split())) for pair in element.attrib["d"].replace("M", "L").split("L")[1:]]


def test_a_curve_ends_at_its_name_and_levels_are_drawn_in():
    line = Curve(label="training", points=[(0, 4.0), (10, 1.0)])
    svg = curves([line], [Level(label="chance 4.34", value=4.34)], description="loss", x_label="step")
    assert {"training", "chance 4.34", "step"} <= set(texts(svg))
    [drawn] = having(svg, "path", "model")
    [level] = having(svg, "line", "level")
    (x0, y0), (x1, y1) = coordinates(drawn)
    assert x0 < x1
    assert float(level.attrib["y1"]) < y0 < y1  # upwards on the page is less
    [label] = [e for e in parse(svg).iter("text") if e.text == "training"]
    assert float(label.attrib["y"]) == pytest.approx(y1 + 4)


def test_labels_fit_into_the_picture():
    lines = [Curve(label="hardest negatives", points=[(0, 1.0), (1, 1.0)]), Curve(label="x", points=[(0, 1.0), (1, 1)])]
    svg = curves(lines, description="", x_label="step", small=True)
    width, height = map(float, parse(svg).attrib["viewBox"].split()[2:])
    for label in having(svg, "text", "label"):
        assert float(label.attrib["x"]) + 6 * len(label.text) < width
        assert 0 < float(label.attrib["y"]) < height


def test_values_that_are_not_finite_leave_gaps_and_do_no_harm():
    points = [(0, 1.0), (1, math.nan), (2, math.inf), (3, 2.0)]
    svg = curves([Curve(label="loss", points=points)], description="", x_label="step")
    [drawn] = having(svg, "path", "model")
    assert drawn.attrib["d"].count("M") == 2
    assert "nan" not in str(svg)
    assert "inf" not in str(svg)


@pytest.mark.parametrize("points", [[(0, 0.0)], [(5, 3.0), (6, 3.0)], [(0, -1.0), (1, -1.0)], [(0, 1e-9), (1, 1e9)]])
def test_odd_ranges_are_drawn_inside_the_picture(points):
    svg = curves([Curve(label="", points=points)], description="", x_label="")
    width, height = map(float, parse(svg).attrib["viewBox"].split()[2:])
    for circle in having(svg, "circle", "dot"):
        assert 0 <= float(circle.attrib["cx"]) <= width
        assert 0 <= float(circle.attrib["cy"]) <= height


def test_a_long_history_is_thinned_to_what_can_be_seen():
    svg = curves([Curve(label="", points=[(k, k % 7) for k in range(100_000)])], description="", x_label="")
    assert len(coordinates(having(svg, "path", "model")[0])) == MOST


def test_intervals_stand_below_each_other_with_their_numbers():
    bars = [Bar(label="this model", value=0.9, low=0.85, high=0.95), Bar(label="lexical", value=0.8, role="baseline")]
    svg = intervals(bars, description="")
    assert {"this model", "lexical", "0.900", "0.800"} <= set(texts(svg))
    first, second = having(svg, "circle", "dot")
    assert float(first.attrib["cx"]) > float(second.attrib["cx"])
    assert float(first.attrib["cy"]) < float(second.attrib["cy"])
    [whisker] = having(svg, "line", "whisker")
    assert float(whisker.attrib["x1"]) < float(first.attrib["cx"]) < float(whisker.attrib["x2"])


def test_a_histogram_has_the_same_area_for_groups_of_any_size():
    groups = [("positives", [0.5, 0.6, 0.7, 0.9] * 3, "model"), ("negatives", [0.0, 0.1, 0.1, 0.3] * 500, "baseline")]
    svg = histograms(groups, description="", x_label="cosine")
    areas = []
    for role in ("model", "baseline"):
        points = coordinates(having(svg, "path", role)[0])
        base = points[0][1]
        areas.append(sum((b[0] - a[0]) * (base - a[1]) for a, b in itertools.pairwise(points)))
    assert areas[0] == pytest.approx(areas[1], rel=1e-2)
    assert {"positives", "negatives"} <= set(texts(svg))


def test_a_histogram_of_one_value_is_drawn():
    assert "path" in histograms([("positives", [0.5], "model")], description="", x_label="")


def test_a_map_keeps_distances_and_carries_its_texts():
    points = [Point(x=0, y=0, text="a", label="one"), Point(x=10, y=0, text="b", label="one"),
              Point(x=0, y=10, text="c", label="two")]  # fmt: skip
    svg = scatter(points, description="")
    a, b, c = [(float(e.attrib["cx"]), float(e.attrib["cy"])) for e in parse(svg).iter("circle")]
    assert math.dist(a, b) == pytest.approx(math.dist(a, c), rel=1e-3)
    assert c[1] < a[1]
    assert [e.text for e in parse(svg).iter("title")] == ["a [one]", "b [one]", "c [two]"]
    width, height = map(float, parse(svg).attrib["viewBox"].split()[2:])
    assert all(0 <= x <= width and 0 <= y <= height for x, y in (a, b, c))


def test_groups_that_lie_on_each_other_are_named_one_below_the_other():
    points = [Point(x=x, y=y, text="", label=label) for label in ("query", "document") for x in (0, 9) for y in (0, 9)]
    words = parse(scatter(points, description="")).iterfind(".//{*}text[@class='place']")
    places = {"".join(e.itertext()): float(e.attrib["y"]) for e in words}
    assert set(places) == {"● query", "● document"}
    assert abs(places["● query"] - places["● document"]) >= 14


def test_all_points_in_one_place_are_a_map_too():
    assert scatter([Point(x=1, y=1, text="a", label="")] * 3, description="").count("circle") == 6


def test_marks_of_a_logarithmic_axis_do_not_touch():
    line = Curve(label="this model", points=[(k, 0.9) for k in (1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 500, 1000)])
    svg = curves([line], description="", x_label="k", log_x=True, small=True)
    marks = [e for e in having(svg, "text", "tick") if e.attrib["text-anchor"] == "middle"]
    places = [(float(e.attrib["x"]), len(e.text)) for e in marks]
    assert marks[0].text == "1"
    assert all(b - a > 6 * (m + n) / 2 for (a, m), (b, n) in itertools.pairwise(places))
