"""From the landing zone to the lake's raw tables."""
