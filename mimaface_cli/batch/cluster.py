"""Workers on a Ray cluster: each is an actor that keeps a `WorkerProcess` on its node, so that a job runs there as it
would here. The nodes need this version of mimaface, and the files under the same paths: a shared file system.
"""

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from mimaface_cli.batch.job_run import Reply
from mimaface_cli.batch.resources import CORES
from mimaface_cli.batch.scheduler import NoRoom
from mimaface_cli.batch.worker import Progress, WorkerDied, WorkerProcess
from mimaface_cli.errors import InputError, WeightsError, brief

_ANSWERS = 5.0  # seconds until an address counts as unreachable
_JOINS = 60.0  # seconds that joining the cluster may take
_STARTS = 60.0  # seconds until a worker counts as one that has no room
_LOOKS = 1.0  # seconds between two looks at how far a job is


@contextmanager
def joined(
    address: str, command: list[str], folder: Path, diffusion: bool
) -> Iterator[tuple[int, Callable[[int], "RayWorker"]]]:
    """The block is part of a cluster (host:port, ray://host:port or auto). Yields how many workers it bears (one for
    each GPU where jobs may use `diffusion` and there are any, else by cores) and what starts one there.

    Raises WeightsError where Ray is not installed, InputError where nobody answers at the address within a minute.
    """
    try:
        import ray
    except ImportError as error:
        raise WeightsError('--ray: Ray is not installed; run pip install "mimaface[ray]"') from error
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    _knock(address)
    with redirect_stdout(StringIO()):  # Ray prints there of lost nodes; that stream is for results
        yield _join(ray, address, command, folder, diffusion)
        ray.shutdown()


def _join(
    ray: Any, address: str, command: list[str], folder: Path, diffusion: bool
) -> tuple[int, Callable[[int], "RayWorker"]]:
    failed: list[BaseException] = []

    def join() -> None:
        try:
            ray.init(address, log_to_driver=False, configure_logging=False, namespace="mimaface")
        except BaseException as error:  # Ray raises many kinds; all mean the same to the user
            failed.append(error)

    # Ray has no limit of its own: who never answers is left behind.
    joining = threading.Thread(target=join, daemon=True)
    joining.start()
    joining.join(_JOINS)
    if failed or joining.is_alive():
        reason = f" ({brief(failed[0], 120)})" if failed else ""
        raise InputError(f"--ray {address}: no Ray cluster can be joined there{reason}; check ray status on its head")
    has = ray.cluster_resources()
    cards, cores = int(has.get("GPU", 0)), int(has.get("CPU", 1))
    needs = {"num_gpus": 1, "num_cpus": 1} if diffusion and cards else {"num_cpus": min(CORES, max(1, cores))}
    count = cards if "num_gpus" in needs else max(1, cores // CORES)
    kept = {name: value for name, value in os.environ.items() if name.startswith(("MIMAFACE_", "PYTHONPATH"))}
    actor = ray.remote(max_restarts=0, max_concurrency=2, **needs)(_Actor)
    return count, lambda number: RayWorker(actor, command, folder, kept)


def _knock(address: str) -> None:
    """Raise InputError unless something listens at a host:port; Ray itself would try for minutes."""
    if address in ("auto", "local"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(f"--ray {address}: give host:port, ray://host:port or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWERS).close()
    except OSError as error:
        raise InputError(
            f"--ray {address}: nobody answers there ({error.strerror or error}); check the address and that the cluster "
            "is up"
        ) from error


class RayWorker:
    """The near end of a worker on the cluster; used as `WorkerProcess` is."""

    def __init__(self, actor: Any, command: list[str], folder: Path, variables: Mapping[str, str]) -> None:
        """Raises NoRoom where no node takes it within a minute."""
        import ray

        self._actor = actor.remote(command, str(folder), dict(variables))
        try:
            ray.get(self._actor.stage.remote(), timeout=_STARTS)
        except Exception as error:
            self.stop()
            raise NoRoom from error

    def do(self, task: Mapping[str, Any], progress: Progress, timeout: float | None = None) -> Reply:
        """Have a task done. Raises WorkerDied, also where its node leaves the cluster."""
        import ray

        try:
            answer = self._actor.do.remote(dict(task), timeout)
            while not ray.wait([answer], timeout=_LOOKS)[0]:
                if stage := ray.get(self._actor.stage.remote()):
                    progress(*stage)
            values = ray.get(answer)
        except ray.exceptions.RayError as error:
            raise WorkerDied(f"its worker was lost with its node ({type(error).__name__})") from error
        if "died" in values:
            raise WorkerDied(values["died"])
        return Reply(**values)

    def stop(self) -> None:
        """End it; its process cleans up by itself."""
        import ray

        ray.kill(self._actor)


class _Actor:
    """The far end, on its node."""

    def __init__(self, command: list[str], folder: str, variables: dict[str, str]) -> None:
        self._worker = WorkerProcess(command, Path(folder), variables)
        self._stage: tuple[str, int, int | None] | None = None

    def do(self, task: dict[str, Any], timeout: float | None) -> dict[str, Any]:
        try:
            return vars(self._worker.do(task, self._at, timeout))
        except WorkerDied as error:
            return {"died": str(error)}

    def stage(self) -> tuple[str, int, int | None] | None:
        """How far the job is."""
        return self._stage

    def _at(self, stage: str, done: int, total: int | None) -> None:
        self._stage = stage, done, total
