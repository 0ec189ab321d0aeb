"""Check every fixture under a folder: python -m tests.goldens DIR [-v]. The exit code is 1 if any fails."""

import argparse
import sys
import time
from pathlib import Path

import torch

from tests.goldens.fixture import Check, Fixture
from tests.goldens.kinds import checker_of


def run(path: Path) -> list[Check]:
    """Run all checks of one fixture; a missing or failing checker is a failed check."""
    checker = checker_of(path.stem)
    if checker is None:
        return [Check("no checker for this kind", float("inf"), 0)]
    try:
        with torch.no_grad():
            checks = list(checker(Fixture(path)))
    except Exception as error:  # a broken fixture must not hide the results of the others
        return [Check(f"{type(error).__name__}: {error}", float("inf"), 0)]
    return checks or [Check("nothing was checked", float("inf"), 0)]


def find_fixtures(folder: Path) -> list[Path]:
    """List every fixture under a folder, or the one file."""
    return [folder] if folder.is_file() else sorted(folder.rglob("*.json"))


def main(argv: list[str] | None = None) -> int:
    """Print one line for each fixture; return 0 when all pass."""
    parser = argparse.ArgumentParser(prog="python -m tests.goldens", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder to search for NAME.json (and NAME.npz) at any depth")
    parser.add_argument("-v", "--verbose", action="store_true", help="print every check, not only the closest one")
    arguments = parser.parse_args(argv)
    paths = find_fixtures(arguments.folder)
    if not paths:
        print(f"{arguments.folder}: no fixtures", file=sys.stderr)
        return 1
    root = arguments.folder if arguments.folder.is_dir() else arguments.folder.parent
    torch.set_num_threads(1)  # the tensors are small: several threads would mostly wait for each other
    print(f"{'fixture':<28} {'largest error':>13} {'tolerance':>10}  {'':4} {'time':>6}  closest check")
    failed = 0
    for path in paths:
        start = time.perf_counter()
        checks = run(path)
        seconds = time.perf_counter() - start
        name = str(path.relative_to(root).with_suffix(""))
        passed = all(check.passed for check in checks)
        failed += not passed
        worst = max(checks, key=lambda check: check.severity)
        print(_line(name, worst, passed, f"{seconds:5.1f}s", f"{worst.name} (of {len(checks)})"), flush=True)
        for check in checks if arguments.verbose else ():
            print(_line("", check, check.passed, "", check.name))
    print(f"{len(paths) - failed} of {len(paths)} fixtures pass")
    return 1 if failed else 0


def _line(name: str, check: Check, passed: bool, seconds: str, note: str) -> str:
    verdict = "pass" if passed else "FAIL"
    return f"{name:<28} {check.error:13.3g} {check.tolerance:10.3g}  {verdict} {seconds:>6}  {note}"


if __name__ == "__main__":
    sys.exit(main())
