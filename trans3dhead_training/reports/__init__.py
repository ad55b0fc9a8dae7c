"""Reports of an evaluation: statistics with intervals, as text, JSON, plots and one HTML page."""
