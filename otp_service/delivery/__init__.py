"""The worker: queued SMS, deadlines, ownership jobs."""
