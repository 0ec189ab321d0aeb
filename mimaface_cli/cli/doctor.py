"""`mimaface doctor`."""

from typing import Any

import typer

from mimaface_cli.cli import console
from mimaface_cli.cli.options import PlainJson


def command(as_json: PlainJson = False) -> None:
    """Show the installed packages and weights, the engines that can run, and what the others need.

    Exits with code 5 if not even the embedded engine can run.
    """
    from mimaface_cli.apps.doctor import examine

    report = examine()
    if as_json:
        console.write_json(report)
    else:
        console.write("\n".join(_lines(report)))
    if not report["engines"]["mesh"]["ready"]:
        raise typer.Exit(5)


def _lines(report: dict[str, Any]) -> list[str]:
    """Return the report as lines."""
    packages = (f"{name} {version or 'MISSING'}" for name, version in report["packages"].items())
    return [
        f"mimaface {report['version']}, Python {report['python']}, {report['platform']}, {report['cpus']} CPUs",
        f"CUDA: {report['cuda']}",
        f"packages: {', '.join(packages)}",
        *(f"weights {name}: {asset['path'] or asset['problem']}" for name, asset in report["weights"].items()),
        f"cache: {report['cache']['folder']}, {report['cache']['bytes'] / 1e6:.1f} MB",
        *(
            f"engine {name}: {'ready' if engine['ready'] else 'not ready: ' + '; '.join(engine['missing'])}"
            for name, engine in report["engines"].items()
        ),
        *(f"warning: {text}" for text in report["warnings"]),
    ]
