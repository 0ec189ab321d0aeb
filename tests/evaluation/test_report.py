"""Choice of the worst frames, and plots."""

from pathlib import Path

from mimaface_cli.evaluation.evaluation_result import Evaluation, MeanFigure, ResultRow
from mimaface_cli.evaluation.measure import ResultFigures
from mimaface_cli.evaluation.pair_lists import Pair
from mimaface_cli.evaluation.report import find_worst_frames
from mimaface_cli.evaluation.svg_plots import Line, plot

TIMES = [k / 10 for k in range(30)]


def make_evaluation(*is_same: bool) -> Evaluation:
    rows = [
        ResultRow(Pair(Path("a.jpg"), Path("b.mp4"), same=same), Path("out.mp4"), ResultFigures()) for same in is_same
    ]
    means = {"expression_bfm09": MeanFigure(2.5, 1, None), "expression": MeanFigure(0.25, 1, None)}
    return Evaluation(rows, means, {})


def test_find_worst_frames_returns_extremes_that_are_apart():
    expression = [0.0] * 30
    expression[10], expression[11], expression[20] = 0.9, 0.8, 0.7
    psnr = [40.0] * 30
    psnr[15] = 20.0
    captions = find_worst_frames(ResultFigures(series={"time": TIMES, "expression": expression, "psnr": psnr}))
    assert captions[10] == "expression distance 0.90" and captions[20] == "expression distance 0.70"
    assert captions[15] == "PSNR 20.0 dB" and 11 not in captions
    assert list(captions) == sorted(captions)


def test_plot_breaks_curves_at_missing_values():
    svg = plot("Mouth", [0.0, 1.0, 2.0, 3.0, 4.0], [Line("a & b", [1.0, 2.0, None, 3.0, 4.0])], [1.0])
    assert svg.count("<polyline") == 2 and svg.count('class="mark"') == 1 and "a &amp; b" in svg
    assert plot("Empty", [0.0, 1.0], [Line("", [None, None])]) == ""


def test_plot_of_a_long_curve_keeps_its_peak():
    values = [0.0] * 5000
    values[1234] = 7.0
    svg = plot("Long", [k / 25 for k in range(5000)], [Line("", values)])
    assert svg.count(",") < 1700 and ",39.0" in svg  # 7 on an axis from 0 to 8
