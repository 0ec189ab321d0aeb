"""`mimaface doctor`."""

from typing import Annotated, Any

import typer

from mimaface_cli.cli import console


def command(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Show what is installed, which engines can run here, and what is missing for the others.

    Exits with 5 when not even the embedded engine can run.
    """
    from mimaface_cli.apps.doctor import examine

    findings = examine()
    if as_json:
        console.write_json(findings)
    else:
        console.write("\n".join(_lines(findings)))
    if not findings["engines"]["mesh"]["ready"]:
        raise typer.Exit(5)


def _lines(findings: dict[str, Any]) -> list[str]:
    packages = (f"{name} {version or 'MISSING'}" for name, version in findings["packages"].items())
    return [
        f"mimaface {findings['version']}, Python {findings['python']}, {findings['platform']}, {findings['cpus']} CPUs",
        f"CUDA: {findings['cuda']}",
        f"packages: {', '.join(packages)}",
        *(f"weights {name}: {asset['path'] or asset['problem']}" for name, asset in findings["weights"].items()),
        f"cache: {findings['cache']['folder']}, {findings['cache']['bytes'] / 1e6:.1f} MB",
        *(
            f"engine {name}: {'ready' if engine['ready'] else 'not ready: ' + '; '.join(engine['missing'])}"
            for name, engine in findings["engines"].items()
        ),
    ]
