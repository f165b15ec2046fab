"""Runs as `tests/records` makes them."""

from tests.records.conftest import make_config, make_record, make_run  # noqa: F401
