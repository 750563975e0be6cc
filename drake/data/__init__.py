"""Records and datasets: sources, schedules, the writer and its manifest, and the opened dataset."""
