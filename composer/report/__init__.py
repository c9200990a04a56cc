"""One self-contained HTML page about a job: its panoramas, matches, seams, photos, time and memory."""

from composer.report.page import Job, Shown, write_report
from composer.report.pictures import reduced_size, reducing, thumbnail

__all__ = ["Job", "Shown", "reduced_size", "reducing", "thumbnail", "write_report"]
