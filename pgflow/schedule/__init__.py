"""Running pipelines when their schedules say so: workers on a queue, cron, other schedulers."""
