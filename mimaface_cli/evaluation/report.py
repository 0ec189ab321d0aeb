"""A run as one HTML page that needs no other file and no network: figures, the paper's beside them, curves over time,
and the frames that came out worst.
"""

import base64
import io
from html import escape
from pathlib import Path

from PIL import Image as Pillow

from mimaface_cli import __version__
from mimaface_cli.errors import InputError
from mimaface_cli.evaluation.evaluate import Evaluation, Row
from mimaface_cli.evaluation.figures import BY_NAME, FIGURES, paper_tables
from mimaface_cli.evaluation.frame_features import DriverPictures, resized, source_picture
from mimaface_cli.evaluation.measure import pictures_at
from mimaface_cli.evaluation.paper_tables import paper_rows
from mimaface_cli.evaluation.svg_plots import Line, plot
from mimaface_cli.files import atomic_path, check_output
from mimaface_cli.progress import ProgressCallback

_MOST_SECTIONS = 24  # results with curves and pictures of their own; a page must open
_TALL = 168  # pixels of a thumbnail
_APART = 0.4  # seconds between two worst frames
_STYLE = """
:root{--ink:#1c2430;--soft:#667085;--line:#e4e7ec;--a:#2563eb;--b:#d97706;--bad:#b42318;--paper:#fff;--wash:#f8fafc}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#98a2b3;--line:#2b3340;--a:#6ea8ff;--b:#f5b14c;
--bad:#ff8a80;--paper:#12161d;--wash:#181e27}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);
font:14px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1120px;margin:0 auto;padding:32px 24px 64px}h1{font-size:24px;margin:0 0 4px}
h2{font-size:17px;margin:40px 0 10px}h3{font-size:15px;margin:36px 0 6px;overflow-wrap:anywhere}
p{margin:4px 0;color:var(--soft)}.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{padding:5px 10px 5px 0;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
th{font-weight:600;vertical-align:bottom}td.way{white-space:nowrap}.all{font-size:12px}.all td:first-child{min-width:210px;overflow-wrap:anywhere}.all th{min-width:72px}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td.why{color:var(--soft)}tr.group td{padding-top:18px;font-weight:600;border-color:var(--soft)}
tr.own td{font-weight:600;color:var(--a)}.note{color:var(--bad)}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(340px,1fr));gap:18px 24px;margin:14px 0}
.plot{width:100%;height:auto;display:block}.plot text{fill:var(--soft);font-size:10.5px}
.plot .title{fill:var(--ink);font-size:12.5px;font-weight:600}.grid{stroke:var(--line)}
.mark{stroke:var(--bad);stroke-dasharray:2 3;opacity:.6}.line{fill:none;stroke-width:1.5;stroke-linejoin:round}
.line.line0{stroke:var(--a)}.line.line1{stroke:var(--b)}.dot.line0{fill:var(--a)}.dot.line1{fill:var(--b)}
.plot text.key{font-size:11px}.plot text.key.line0{fill:var(--a)}.plot text.key.line1{fill:var(--b)}
.frames{display:flex;flex-wrap:wrap;gap:16px;margin:14px 0}figure{margin:0}figure img{display:block;height:168px;
background:var(--wash)}figure div{display:flex;gap:2px}figcaption{color:var(--soft);font-size:12px;max-width:340px}
@media print{.plots,.frames,table{break-inside:avoid}}
"""


def write_report(
    path: Path, found: Evaluation, overwrite: bool = False, report: ProgressCallback | None = None
) -> None:
    """Write the page. The worst frames are decoded anew. Raises OutputError."""
    check_output(path, overwrite)
    tell = report or (lambda stage, done, total: None)
    measured = [row for row in found.rows if row.measured is not None]
    shown = sorted(measured, key=lambda row: -row.measured.values.get("expression", 0.0))[:_MOST_SECTIONS]
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(_head(found))
        file.write(_summary(found))
        file.write(_paper(found))
        if len(found.rows) > 1:
            file.write(_all_results(found))
        if len(measured) > len(shown):
            file.write(f"<h2>The {len(shown)} results farthest from their driver's expression</h2>")
        for index, row in enumerate(shown):
            tell("writing the report", index, len(shown))
            file.write(_section(row))
        file.write("</main></body></html>\n")


def _head(found: Evaluation) -> str:
    first = found.rows[0]
    title = first.result.name if len(found.rows) == 1 else f"{len(found.rows)} results"
    lines = [f"Measured by mimaface {__version__}."]
    if len(found.rows) == 1:
        lines.append(f"Source {first.pair.source.name}, driver {first.pair.driver.name}.")
    else:
        lines.append("Means over results, each counting once, with their standard error.")
    notes = [*found.notes, *([f"{len(found.failed)} results could not be measured."] if found.failed else [])]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>"
        f"<h1>{escape(title)}</h1><p>{escape(' '.join(lines))}</p>"
        + "".join(f'<p class="note">{escape(note)}</p>' for note in notes)
    )


def _summary(found: Evaluation) -> str:
    rows, group = [], ""
    for figure in FIGURES:
        mean = found.means.get(figure.name)
        if mean is None and figure.name not in found.reasons:
            continue
        if figure.group != group:
            group = figure.group
            rows.append(f'<tr class="group"><td colspan="4">{escape(group)}</td></tr>')
        value = "–" if mean is None else escape(figure.text(mean.value))
        if mean is not None and mean.error is not None:
            value += f" ± {mean.error:.{figure.decimals}f}"
        about = figure.about if mean is not None else found.reasons[figure.name]
        rows.append(
            f'<tr><td>{escape(figure.label)}</td><td class="way">{figure.arrow}</td>'
            f'<td class="n">{value}</td><td class="why">{escape(about)}</td></tr>'
        )
    return f'<h2>Figures</h2><div class="wide"><table>{"".join(rows)}</table></div>'


def _paper(found: Evaluation) -> str:
    out = []
    for title, columns, rows in paper_rows(found):
        head = "".join(f'<th class="n">{escape(c)} {BY_NAME[name].arrow}</th>' for c, name in columns)
        body = []
        for method, cells in rows:
            own = ' class="own"' if method.startswith("this run") else ""
            values = "".join(f'<td class="n">{escape(cell)}</td>' for cell in cells)
            body.append(f"<tr{own}><td>{escape(method)}</td>{values}</tr>")
        out.append(
            f'<h2>{escape(title)}</h2><div class="wide"><table><tr><th>Method</th>{head}</tr>{"".join(body)}</table></div>'
        )
    tables = paper_tables()
    return "".join(out) + f"<p>{escape(tables['source'])}. {escape(tables['data'])}. Other data give other figures.</p>"


def _all_results(found: Evaluation) -> str:
    names = [f for f in FIGURES if not f.whole and any(r.measured and f.name in r.measured.values for r in found.rows)]
    head = "".join(f'<th class="n">{escape(f.label)} {f.arrow}</th>' for f in names)
    body = []
    for row in found.rows:
        m = row.measured
        if m is None:
            cells = f'<td class="why" colspan="{len(names)}">{escape(row.error or "")}</td>'
        else:
            values = (f"{m.values[f.name]:.{f.decimals}f}" if f.name in m.values else "–" for f in names)
            cells = "".join(f'<td class="n">{value}</td>' for value in values)
        body.append(f"<tr><td>{escape(row.result.name)}</td>{cells}</tr>")
    return f'<h2>All results</h2><div class="wide"><table class="all"><tr><th>Result</th>{head}</tr>{"".join(body)}</table></div>'


def _section(row: Row) -> str:
    m = row.measured
    about = f"{m.frames} frames, {m.compared} of them compared; source {row.pair.source.name}, driver {row.pair.driver.name}"
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in m.notes)
    plots = "".join(_plots(row))
    grid = f'<div class="plots">{plots}</div>' if plots else ""
    return f"<h3>{escape(row.result.name)}</h3><p>{escape(about)}</p>{notes}{_frames(row)}{grid}"


def _plots(row: Row) -> list[str]:
    series = row.measured.series
    times = [t for t in series["time"] if t is not None]
    none = [None] * len(times)
    get = lambda name: series.get(name, none)  # noqa: E731
    marks = _borders(row, times)
    identity = "csim" if "csim" in series else "identity_dlib"
    label = "Identity: similarity to the source" if identity == "csim" else "Identity: distance to the source (dlib)"
    return [
        plot("PSNR (dB)", times, [Line("", get("psnr"))]),
        plot("SSIM", times, [Line("", get("ssim"))]),
        plot("LPIPS", times, [Line("", get("lpips"))]),
        plot("Expression: distance to the driver", times, [Line("", get("expression"))]),
        plot("Head: angle to the driver (°)", times, [Line("", get("rotation"))]),
        plot("Gaze: distance to the driver (rad)", times, [Line("", get("gaze"))]),
        plot("Mouth opening", times, [Line("result", get("mouth")), Line("driver", get("mouth_driver"))]),
        plot(label, times, [Line("", get(identity), dots=True)]),
        plot("Change from frame to frame (gray levels)", times, [Line("", get("change"))], marks),
        plot("Flicker (gray levels)", times, [Line("picture", get("flicker")), Line("face", get("flicker_face"))]),
    ]


def _borders(row: Row, times: list[float]) -> list[float]:
    """Moments of the clip borders that were found."""
    period = row.measured.values.get("border_period")
    if period is None or row.measured.first_border is None:
        return []
    return times[row.measured.first_border :: int(period)]


def worst_frames(row: Row) -> list[tuple[int, str]]:
    """Frames to show and why: farthest from the driver in expression and head, least like it, the largest jump."""
    series, chosen = row.measured.series, {}
    times = series["time"]
    wanted = (
        ("expression", 3, 1, "expression off by {:.2f}"),
        ("rotation", 1, 1, "head off by {:.1f}°"),
        ("psnr", 1, -1, "PSNR {:.1f} dB"),
        ("change", 1, 1, "changes by {:.1f} gray levels"),
    )
    for name, count, sign, words in wanted:
        ranked = sorted((-sign * v, k) for k, v in enumerate(series.get(name, [])) if v is not None)
        for value, k in ranked:
            if count == 0:
                break
            if all(abs(times[k] - times[other]) >= _APART for other in chosen):
                chosen[k] = words.format(abs(value))
                count -= 1
    return sorted(chosen.items())


def _frames(row: Row) -> str:
    """Thumbnails: the source, then result and driver side by side."""
    wanted = dict(worst_frames(row))
    times = row.measured.series["time"]
    out = [_figure([source_picture(row.pair)], "source")]
    driver = DriverPictures(row.pair)
    try:
        for index, picture in pictures_at(row.result, list(wanted)):
            beside = driver.at(times[index])
            pictures = [picture] if beside is None else [picture, beside]
            out.append(_figure(pictures, f"{times[index]:.2f} s, frame {index}: {wanted[index]}"))
    except InputError:  # the file was taken away meanwhile: the figures still stand
        pass
    finally:
        driver.close()
    words = "The frames that came out worst, the result at the left, the driver at the right:"
    return f'<p>{words}</p><div class="frames">{"".join(out)}</div>'


def _figure(pictures: list, caption: str) -> str:
    images = []
    for picture in pictures:
        width = max(1, round(picture.shape[1] * _TALL / picture.shape[0]))
        data = io.BytesIO()
        Pillow.fromarray(resized(picture, min(width, 4 * _TALL), _TALL)).save(data, "JPEG", quality=82)
        images.append(f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}">')
    return f"<figure><div>{''.join(images)}</div><figcaption>{escape(caption)}</figcaption></figure>"
