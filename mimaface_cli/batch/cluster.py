"""Workers on a Ray cluster: actors that each own a `WorkerProcess` on their node.

A job runs on a node as it would run locally. The nodes need the same version of mimaface, and the files under the same
paths, so a shared file system.
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

from mimaface_cli.batch.job_run import JobReply
from mimaface_cli.batch.resources import CORES_PER_JOB
from mimaface_cli.batch.scheduler import NoCapacityError
from mimaface_cli.batch.worker import WorkerDiedError, WorkerProcess
from mimaface_cli.errors import InputError, WeightsError, brief
from mimaface_cli.progress import ProgressCallback

_CONNECT_TIMEOUT = 5.0  # seconds until an address counts as unreachable
_JOIN_TIMEOUT = 60.0  # seconds that joining the cluster may take
_START_TIMEOUT = 60.0  # seconds until the cluster counts as full
_POLL_INTERVAL = 1.0  # seconds between two requests for a job's progress


@contextmanager
def join_cluster(
    address: str, command: list[str], folder: Path, uses_diffusion: bool
) -> Iterator[tuple[int, Callable[[int], "RayWorker"]]]:
    """Join a cluster for the duration of the block.

    Args:
        address: host:port, ray://host:port or auto.
        command: The command that starts a worker process.
        folder: Working directory of the workers.
        uses_diffusion: Whether jobs may use the diffusion engine; if so, there is one worker per GPU, if any.

    Yields:
        The number of workers that the cluster has resources for, and the function that starts a worker.

    Raises:
        WeightsError: Ray is not installed.
        InputError: No cluster answers at the address within a minute.
    """
    try:
        import ray
    except ImportError as error:
        raise WeightsError('Ray is not installed. Run pip install "mimaface[ray]".', field="ray") from error
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    _check_address(address)
    with redirect_stdout(StringIO()):  # Ray prints lost nodes there; the stream is for results
        yield _join(ray, address, command, folder, uses_diffusion)
        ray.shutdown()


def _join(
    ray: Any, address: str, command: list[str], folder: Path, uses_diffusion: bool
) -> tuple[int, Callable[[int], "RayWorker"]]:
    """Join a cluster whose address answers; see `join_cluster`."""
    errors: list[BaseException] = []

    def join() -> None:
        try:
            ray.init(address, log_to_driver=False, configure_logging=False, namespace="mimaface")
        except BaseException as error:  # Ray raises many types for the same problem
            errors.append(error)

    # Ray has no time limit; a cluster that never answers is abandoned.
    thread = threading.Thread(target=join, daemon=True)
    thread.start()
    thread.join(_JOIN_TIMEOUT)
    if errors or thread.is_alive():
        reason = f" ({brief(errors[0], 120)})" if errors else ""
        raise InputError(
            f"cannot join a cluster at {address}{reason}. Check it with ray status on its head node.", field="ray"
        )
    resources = ray.cluster_resources()
    gpus, cores = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
    if uses_diffusion and gpus:
        count, requirements = gpus, {"num_gpus": 1, "num_cpus": 1}
    else:
        count, requirements = max(1, cores // CORES_PER_JOB), {"num_cpus": min(CORES_PER_JOB, max(1, cores))}
    variables = {name: value for name, value in os.environ.items() if name.startswith(("MIMAFACE_", "PYTHONPATH"))}
    actor_class = ray.remote(max_restarts=0, max_concurrency=2, **requirements)(_Actor)
    return count, lambda number: RayWorker(actor_class, command, folder, variables)


def _check_address(address: str) -> None:
    """Raise InputError unless a server listens at the address; Ray itself would retry for minutes."""
    if address in ("auto", "local"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(f"{address} is not an address. Give host:port, ray://host:port or auto.", field="ray")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_TIMEOUT).close()
    except OSError as error:
        raise InputError(
            f"no answer from {address} ({error.strerror or error}). Check the address and that the cluster is running.",
            field="ray",
        ) from error


class RayWorker:
    """A worker on the cluster, with the interface of `WorkerProcess`.

    Raises:
        NoCapacityError: No node starts it within a minute.
    """

    def __init__(self, actor_class: Any, command: list[str], folder: Path, variables: Mapping[str, str]) -> None:
        import ray

        self._actor = actor_class.remote(command, str(folder), dict(variables))
        try:
            ray.get(self._actor.stage.remote(), timeout=_START_TIMEOUT)
        except Exception as error:
            self.stop()
            raise NoCapacityError from error

    def run_task(self, task: Mapping[str, Any], progress: ProgressCallback, timeout: float | None = None) -> JobReply:
        """Run a task and return the reply. Raises WorkerDiedError, also if its node leaves the cluster."""
        import ray

        try:
            answer = self._actor.run_task.remote(dict(task), timeout)
            while not ray.wait([answer], timeout=_POLL_INTERVAL)[0]:
                if stage := ray.get(self._actor.stage.remote()):
                    progress(*stage)
            values = ray.get(answer)
        except ray.exceptions.RayError as error:
            raise WorkerDiedError(f"its worker was lost with its node ({type(error).__name__})") from error
        if "died" in values:
            raise WorkerDiedError(values["died"])
        return JobReply(**values)

    def stop(self) -> None:
        """End the worker; its process does its cleanup alone."""
        import ray

        ray.kill(self._actor)


class _Actor:
    """The part of a worker that runs on its node."""

    def __init__(self, command: list[str], folder: str, variables: dict[str, str]) -> None:
        self._worker = WorkerProcess(command, Path(folder), variables)
        self._stage: tuple[str, int, int | None] | None = None

    def run_task(self, task: dict[str, Any], timeout: float | None) -> dict[str, Any]:
        """Run a task; return the reply, or how the process died."""
        try:
            return vars(self._worker.run_task(task, self._set_stage, timeout))
        except WorkerDiedError as error:
            return {"died": str(error)}

    def stage(self) -> tuple[str, int, int | None] | None:
        """Return the stage of the running job, or None."""
        return self._stage

    def _set_stage(self, stage: str, done: int, total: int | None) -> None:
        self._stage = stage, done, total
