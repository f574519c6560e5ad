"""What was received: studies, series, volumes."""
