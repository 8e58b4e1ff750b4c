"""A simulated subscription business: the upstream system and the customers of the embedded default.

Nothing in `evergreen` imports it; it meets the platform only where a real business
would, in the landing zone and over HTTP.
"""
