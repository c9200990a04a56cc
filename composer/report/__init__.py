"""Self-contained HTML pages: about a job, of pictures before and after, of figures, to paint a mask on."""

from composer.report.document import check_page
from composer.report.figures import Judged, as_shown, write_figures
from composer.report.page import Job, Shown, write_report
from composer.report.painting import write_painting
from composer.report.pairs import Pair, write_pairs
from composer.report.pictures import reduced_size, reducing, thumbnail

__all__ = [
    "Job",
    "Judged",
    "Pair",
    "Shown",
    "as_shown",
    "check_page",
    "reduced_size",
    "reducing",
    "thumbnail",
    "write_figures",
    "write_painting",
    "write_pairs",
    "write_report",
]
