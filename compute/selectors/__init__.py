"""Reads that pages, programs and other apps need."""

from compute.selectors.instances import (
    EventRow,
    InstanceRow,
    StatusCell,
    instance_page,
    instances_for,
    row_of,
    spend_of,
    status_cells,
    timeline_of,
)
from compute.selectors.launch import LaunchSummary, launch_offers, launch_summary
from compute.selectors.stock import Stock, capacity_left, stock_by_type

__all__ = [
    "EventRow",
    "InstanceRow",
    "LaunchSummary",
    "StatusCell",
    "Stock",
    "capacity_left",
    "instance_page",
    "instances_for",
    "launch_offers",
    "launch_summary",
    "row_of",
    "spend_of",
    "status_cells",
    "stock_by_type",
    "timeline_of",
]
