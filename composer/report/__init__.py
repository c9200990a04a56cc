"""Self-contained HTML pages: about a stitching job, of pictures before and after, to paint a mask on."""

from composer.report.page import Job, Shown, write_report
from composer.report.painting import write_painting
from composer.report.pairs import Pair, write_pairs
from composer.report.pictures import reduced_size, reducing, thumbnail

__all__ = [
    "Job",
    "Pair",
    "Shown",
    "reduced_size",
    "reducing",
    "thumbnail",
    "write_painting",
    "write_pairs",
    "write_report",
]
