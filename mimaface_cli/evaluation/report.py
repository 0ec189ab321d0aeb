"""The HTML report of an evaluation, one self-contained page.

It shows figures with their methods, published tables, synchronized players, curves over time and the worst frames.
"""

import base64
import io
import tempfile
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from mimaface_cli import __version__
from mimaface_cli.errors import InputError, MimafaceError
from mimaface_cli.evaluation.catalog import CATALOG
from mimaface_cli.evaluation.evaluation_result import Evaluation, ResultRow
from mimaface_cli.evaluation.measure import ResultFigures
from mimaface_cli.evaluation.pair_frames import (
    DriverFrames,
    read_selected_frames,
    read_source_image,
    resize_frame,
)
from mimaface_cli.evaluation.preview import write_preview
from mimaface_cli.evaluation.published_tables import THIS_RUN, compare_with_published
from mimaface_cli.evaluation.report_script import SCRIPT
from mimaface_cli.evaluation.report_style import STYLE
from mimaface_cli.evaluation.svg_plots import Line, plot
from mimaface_cli.files import atomic_path, check_output
from mimaface_cli.progress import ProgressCallback, ignore_progress

_MAX_SECTIONS = 24  # results with curves and frames; with more, the page would open slowly
_THUMBNAIL_HEIGHT = 168  # pixels
_CLIP_HEIGHT = 256  # pixels of the players
_MAX_CLIP, _MAX_CLIPS = 30.0, 240.0  # seconds of one player, and of all players of a page
_MIN_DISTANCE = 0.4  # seconds between two worst frames
# Curves with worst frames: name, number of frames, sign (1: the highest value is the worst), caption.
_WORST = (
    ("expression", 3, 1, "expression distance {:.2f}"),
    ("rotation", 1, 1, "head angle {:.1f}°"),
    ("psnr", 1, -1, "PSNR {:.1f} dB"),
    ("change", 1, 1, "change of {:.1f} gray levels"),
)


def write_report(
    path: Path, evaluation: Evaluation, overwrite: bool = False, progress: ProgressCallback = ignore_progress
) -> None:
    """Write an evaluation as one HTML page that needs no other file and no network.

    Args:
        path: The page.
        evaluation: The evaluation; the worst frames are decoded again from its results.
        overwrite: Whether an existing page is replaced.
        progress: Called with the stage, the completed units and all units.

    Raises:
        OutputError: The page exists or cannot be written.
    """
    check_output(path, overwrite)
    measured = [(row, row.figures) for row in evaluation.rows if row.figures is not None]
    measured.sort(key=lambda entry: -entry[1].values.get("expression", 0.0))
    displayed = measured[:_MAX_SECTIONS]
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(_render_head(evaluation))
        file.write(_render_figures(evaluation))
        file.write(_render_published_tables(evaluation))
        if len(evaluation.rows) > 1:
            file.write(_render_all_results(evaluation))
        if len(measured) > len(displayed):
            file.write(f"<h2>The {len(displayed)} results with the largest expression distance</h2>")
        seconds = min(_MAX_CLIP, _MAX_CLIPS / max(len(displayed), 1))
        for index, (row, figures) in enumerate(displayed):
            progress("writing the report", index, len(displayed))
            file.write(_render_section(row, figures, seconds))
        file.write(f"</main><script>{SCRIPT}</script></body></html>\n")


def _render_head(evaluation: Evaluation) -> str:
    rows, failed = evaluation.rows, evaluation.failed_rows
    title = rows[0].result.name if len(rows) == 1 else f"{len(rows)} results"
    lines = [f"Measured by mimaface {__version__}."]
    if len(rows) == 1:
        lines.append(f"Source {rows[0].pair.source.name}, driver {rows[0].pair.driver.name}.")
    else:
        lines.append("Means over all results with their standard errors.")
    notes = list(evaluation.notes)
    if failed:
        notes.append(f"{len(failed)} results could not be measured.")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>"
        f"<h1>{escape(title)}</h1><p>{escape(' '.join(lines))}</p>" + _render_notes(notes)
    )


def _render_notes(notes: Sequence[str]) -> str:
    return "".join(f'<p class="note">{escape(note)}</p>' for note in notes)


def _render_figures(evaluation: Evaluation) -> str:
    """Return the table of means with their methods, and the reasons of the missing ones."""
    rows, missing, group = [], [], ""
    for info in CATALOG.infos:
        mean = evaluation.means.get(info.name)
        if mean is None:
            if info.name in evaluation.reasons:
                reason = escape(evaluation.reasons[info.name])
                missing.append(f'<tr><td>{escape(info.label)}</td><td class="why">{reason}</td></tr>')
            continue
        if info.group != group:
            group = info.group
            rows.append(f'<tr class="group"><td colspan="2">{escape(group)}</td></tr>')
        value = escape(info.format(mean.value))
        if mean.standard_error is not None:
            value += f" ± {mean.standard_error:.{info.decimals}f}"
        by = f'<div class="by">{escape(info.description)}<br>{escape(str(evaluation.method(info)))}</div>'
        rows.append(f'<tr><td>{escape(info.label)} {info.arrow}{by}</td><td class="n">{value}</td></tr>')
    parts = [
        f"<h2>Figures</h2><p>Protocol: {escape(evaluation.protocol)}. Below each figure: what it is, and its "
        "extractor, crop and resolution.</p>"
        f'<div class="wide"><table>{"".join(rows)}</table></div>'
    ]
    if missing:
        summary = f"<summary>{len(missing)} figures are missing</summary>"
        parts.append(f'<details>{summary}<div class="wide"><table>{"".join(missing)}</table></div></details>')
    return "".join(parts)


def _render_published_tables(evaluation: Evaluation) -> str:
    parts = []
    for table in compare_with_published(evaluation):
        head = "".join(
            f'<th class="n">{escape(column)} {CATALOG.info(metric).arrow}</th>' for column, metric in table.columns
        )
        body = []
        for method, cells in table.rows:
            style = ' class="run"' if method.startswith(THIS_RUN) else ""
            values = "".join(f'<td class="n">{escape(cell)}</td>' for cell in cells)
            body.append(f"<tr{style}><td>{escape(method)}</td>{values}</tr>")
        parts.append(f"<h2>{escape(table.title)}</h2>")
        parts.append(f'<div class="wide"><table><tr><th>Method</th>{head}</tr>{"".join(body)}</table></div>')
        parts.append(f"<p>{escape(table.note)}</p>")
    return "".join(parts)


def _render_all_results(evaluation: Evaluation) -> str:
    """Return the table with a row per result and a column per figure that at least one result has."""
    measured = [row.figures for row in evaluation.rows if row.figures is not None]
    infos = [info for info in CATALOG.result_infos if any(info.name in figures.values for figures in measured)]
    head = "".join(f'<th class="n">{escape(info.label)} {info.arrow}</th>' for info in infos)
    body = []
    for row in evaluation.rows:
        if row.figures is None:
            cells = f'<td class="why" colspan="{len(infos)}">{escape(row.error or "")}</td>'
        else:
            values = row.figures.values
            texts = (f"{values[info.name]:.{info.decimals}f}" if info.name in values else "–" for info in infos)
            cells = "".join(f'<td class="n">{text}</td>' for text in texts)
        body.append(f"<tr><td>{escape(row.result.name)}</td>{cells}</tr>")
    table = f'<table class="all"><tr><th>Result</th>{head}</tr>{"".join(body)}</table>'
    return f'<h2>All results</h2><div class="wide">{table}</div>'


def _render_section(row: ResultRow, figures: ResultFigures, seconds: float) -> str:
    """Return the section of one result: notes, players of at most `seconds`, curves, worst frames."""
    text = (
        f"{figures.frames} frames, {figures.compared_frames} compared. Source {row.pair.source.name}, driver "
        f"{row.pair.driver.name}."
    )
    plots = "".join(_render_plots(figures))
    grid = f'<div class="plots">{plots}</div>' if plots else ""
    heading = f"<h3>{escape(row.result.name)}</h3><p>{escape(text)}</p>"
    players = _render_players(row, seconds)
    content = heading + _render_notes(figures.notes) + players + grid + _render_worst_frames(row, figures)
    return f'<section class="result">{content}</section>'


def _render_players(row: ResultRow, seconds: float) -> str:
    """Return the source, and a video of result and driver side by side; "" if the files are gone."""
    driver: DriverFrames | None = None
    try:
        source = _render_thumbnails([read_source_image(row.pair)], "source", _CLIP_HEIGHT)
        driver = DriverFrames(row.pair)
        with tempfile.TemporaryDirectory() as folder:
            clip = Path(folder, "clip.mp4")
            if not write_preview(clip, row.result, [driver], height=_CLIP_HEIGHT, seconds=seconds):
                return ""
            data = base64.b64encode(clip.read_bytes()).decode()
            first = [image for _, image in read_selected_frames(clip, [0])]
            poster = f' poster="{_encode_jpeg(first[0])}"' if first else ""
    except MimafaceError:  # a file was removed after the measurement: the figures are still valid
        return ""
    finally:
        if driver is not None:
            driver.close()
    text = "result" if driver.is_empty else "result (left) and driver (right)"
    player = f'<video controls loop muted playsinline{poster} data-clip="{data}"></video>'
    caption = (
        f"<figcaption>{text}, the first {seconds:.0f} s at most; curves follow, and a tap on a curve seeks</figcaption>"
    )
    return f'<div class="players">{source}<figure>{player}{caption}</figure></div>'


def _render_plots(figures: ResultFigures) -> list[str]:
    series = figures.series
    times = [time for time in series["time"] if time is not None]
    empty: list[float | None] = [None] * len(times)

    def curve(name: str, label: str = "", dots: bool = False) -> Line:
        return Line(label, series.get(name, empty), dots)

    has_csim = "csim" in series
    identity = "Identity: similarity to the source" if has_csim else "Identity: distance to the source (dlib)"
    return [
        plot("PSNR (dB)", times, [curve("psnr")]),
        plot("SSIM", times, [curve("ssim")]),
        plot("LPIPS", times, [curve("lpips")]),
        plot("AKD (px)", times, [curve("akd")]),
        plot("LMD (px)", times, [curve("lmd")]),
        plot("Expression: distance to the driver", times, [curve("expression")]),
        plot("Head: angle to the driver (°)", times, [curve("rotation")]),
        plot("Gaze: distance to the driver (rad)", times, [curve("gaze")]),
        plot("Mouth opening", times, [curve("mouth", "result"), curve("mouth_driver", "driver")]),
        plot(identity, times, [curve("csim" if has_csim else "identity_dlib", dots=True)]),
        plot("Change from frame to frame (gray levels)", times, [curve("change")], _border_times(figures, times)),
        plot("Warping error (thousandths)", times, [curve("warp_error")]),
        plot("Flicker (gray levels)", times, [curve("flicker", "frame"), curve("flicker_face", "face")]),
    ]


def _border_times(figures: ResultFigures, times: list[float]) -> list[float]:
    """Return the times of the visible clip borders."""
    period = figures.values.get("border_period")
    if period is None or figures.first_border is None:
        return []
    return times[figures.first_border :: int(period)]


def find_worst_frames(figures: ResultFigures) -> dict[int, str]:
    """Return the frames to show with their captions, in order of time.

    These are the frames with the largest distance to the driver in expression and head rotation, with the lowest PSNR
    and with the largest change since the previous frame. They are at least _MIN_DISTANCE apart.
    """
    times = [time or 0.0 for time in figures.series["time"]]
    captions: dict[int, str] = {}
    for name, count, sign, caption in _WORST:
        curve = figures.series.get(name, [])
        ranked = sorted((-sign * value, index) for index, value in enumerate(curve) if value is not None)
        remaining = count
        for value, index in ranked:
            if remaining == 0:
                break
            if all(abs(times[index] - times[other]) >= _MIN_DISTANCE for other in captions):
                captions[index] = caption.format(abs(value))
                remaining -= 1
    return dict(sorted(captions.items()))


def _render_worst_frames(row: ResultRow, figures: ResultFigures) -> str:
    """Return thumbnails: the source, then result and driver side by side."""
    captions = find_worst_frames(figures)
    times = [time or 0.0 for time in figures.series["time"]]
    parts = []
    driver = DriverFrames(row.pair)
    try:
        for index, image in read_selected_frames(row.result, list(captions)):
            driver_image = driver.frame_at(times[index])
            images = [image] if driver_image is None else [image, driver_image]
            caption = f"{times[index]:.2f} s, frame {index}: {captions[index]}"
            parts.append(_render_thumbnails(images, caption, time=times[index]))
    except InputError:  # the file was removed after the measurement: the figures are still valid
        pass
    finally:
        driver.close()
    text = "Worst frames: the result is on the left, the driver on the right."
    return f'<p>{text}</p><div class="frames">{"".join(parts)}</div>'


def _render_thumbnails(
    images: list[np.ndarray], caption: str, height: int = _THUMBNAIL_HEIGHT, time: float | None = None
) -> str:
    parts = []
    for image in images:
        width = max(1, round(image.shape[1] * height / image.shape[0]))
        small = resize_frame(image, min(width, 4 * height), height)
        parts.append(f'<img alt="" src="{_encode_jpeg(small)}">')
    attribute = "" if time is None else f' data-time="{time:.3f}"'
    return f"<figure{attribute}><div>{''.join(parts)}</div><figcaption>{escape(caption)}</figcaption></figure>"


def _encode_jpeg(image: np.ndarray) -> str:
    """Return an H×W×3 uint8 image as a data URL."""
    data = io.BytesIO()
    Image.fromarray(image).save(data, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
