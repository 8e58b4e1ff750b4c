"""From the gates to all requests, step by step: a version beside its model's champion."""
