"""Jobs: the pipeline and the durable engine that runs it."""
