"""From a deployed challenger to the champion: whether it does as well, on the requests that it answers."""
