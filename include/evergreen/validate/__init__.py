"""Contracts: which rows of a batch may be published, which go to quarantine, and when the run must stop."""

import logging

# Importing Great Expectations logs hundreds of INFO lines about its own documentation; a task's log is a report.
logging.getLogger("great_expectations").setLevel(logging.WARNING)
