"""Regions of the face that can be copied from one track to another."""

from collections.abc import Iterable

from mimaface_cli.errors import InputError

MIX_REGIONS = ("mouth", "eyes", "brows", "head", "gaze")


def check_regions(regions: Iterable[str], field: str = "regions") -> None:
    """Raise InputError for an unknown region; `field` is the name of the option."""
    for region in regions:
        if region not in MIX_REGIONS:
            raise InputError(f"unknown region {region[:40]!r}. Choose {', '.join(MIX_REGIONS)}.", field=field)
