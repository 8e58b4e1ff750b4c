"""The model spec: its shape, its rules, and how a folder becomes one."""
