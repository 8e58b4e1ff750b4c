"""The way in: a file as it is becomes the folder of a model, a first fit, a judged candidate."""
