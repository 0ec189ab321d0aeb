"""A run beside the paper's Tables 1 and 2."""

from mimaface_cli.evaluation.evaluate import Evaluation
from mimaface_cli.evaluation.figures import BY_NAME, paper_tables

Rows = list[tuple[str, list[str]]]
_EMBEDDED = {"expression_bfm09": "expression", "pose_bfm09": "pose", "gaze_bfm09": "gaze"}


def paper_rows(found: Evaluation) -> list[tuple[str, list[tuple[str, str]], Rows]]:
    """Tables as (title, columns as (heading, figure), rows as (method, cells)): the protocols that the run has, and
    Table 2; the run stands last, once more with the embedded estimator, whose units are its own.
    """
    tables = paper_tables()
    protocols = {row.pair.same for row in found.rows if row.measured is not None}
    titles = {
        "same": "Paper, Table 1, same identity (VoxCeleb1)",
        "cross": "Paper, Table 1, cross identity (VoxCeleb1)",
        "temporal": "Paper, Table 2, temporal consistency",
    }
    shown = [name for name, same in (("same", True), ("cross", False)) if same in protocols]
    out = []
    for name in (*shown, "temporal"):
        columns = [
            (c, figure) for c, figure in tables["columns"].items() if any(c in row for row in tables[name].values())
        ]
        rows: Rows = [
            (method, [f"{row[c]:g}" if c in row else "–" for c, _ in columns]) for method, row in tables[name].items()
        ]
        if len(protocols) > 1 and name != "temporal":
            out.append((f"{titles[name]} (this run mixes both protocols: measure them one by one)", columns, rows))
            continue
        rows.append(("this run", [_cell(found, figure) for _, figure in columns]))
        if any(figure in _EMBEDDED for _, figure in columns):
            cells = [_cell(found, _EMBEDDED[figure]) if figure in _EMBEDDED else "" for _, figure in columns]
            rows.append(("this run, face478 (other units)", cells))
        out.append((titles[name], columns, rows))
    return out


def _cell(found: Evaluation, figure: str) -> str:
    mean = found.means.get(figure)
    return "–" if mean is None else f"{mean.value:.{BY_NAME[figure].decimals}f}"
