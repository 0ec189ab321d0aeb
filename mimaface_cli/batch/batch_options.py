"""Options of a batch."""

from dataclasses import dataclass

from mimaface_cli.options import check_options, option


@dataclass(frozen=True)
class BatchOptions:
    """Options of a batch.

    Attributes:
        workers: Number of jobs that run in parallel, or None for as many as the machine or the cluster allows.
        retry: Number of further attempts of a failed job.
        halt_on_error: Whether a failed job keeps further jobs from starting.
        skip_existing: Whether jobs whose output exists are skipped.
        timeout: Seconds that a job may take, or None for no limit.
    """

    workers: int | None = option(
        None,
        minimum=1,
        maximum=1000,
        metavar="N",
        help="Number of parallel jobs; by default one per GPU, or as many as cores and memory allow.",
    )
    retry: int = option(0, minimum=0, metavar="N", help="Number of further attempts of a failed job.")
    halt_on_error: bool = option(False, help="Start no further job after a failure.")
    skip_existing: bool = option(False, help="Skip jobs whose output exists.")
    timeout: float | None = option(
        None, above=0, metavar="SECONDS", help="Stop a job that takes longer and count it as failed."
    )

    def __post_init__(self) -> None:
        check_options(self)
