"""All flights that left New York in 2013, replayed: the upstream system of the model `flight_delay`."""
