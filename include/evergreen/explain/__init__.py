"""What a prediction was made of, input by input."""
