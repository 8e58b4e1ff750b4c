"""From features and mature labels to fitted candidates."""
