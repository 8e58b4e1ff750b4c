"""Live predictions against the reference, realised performance, and what is decided about them."""
