"""What is published, missing and late of a model, what serves, and how old its features are."""
