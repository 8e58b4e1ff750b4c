"""What is deleted by declared retention, and how tables are kept small (docs/adr/0027)."""
