"""The estimator: its rows, families, metrics and the code that its results depend on."""
