"""Who allows a version, and the papers that say why it is good."""
