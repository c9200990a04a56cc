"""One job over many files or folders: resumable, on worker processes, with a journal and a summary."""

from composer.batch.items import Item, common_folder, files_below, folders_below
from composer.batch.outcomes import Batch, Outcome
from composer.batch.running import run_batch

__all__ = ["Batch", "Item", "Outcome", "common_folder", "files_below", "folders_below", "run_batch"]
