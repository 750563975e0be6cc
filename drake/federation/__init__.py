"""The round loop: what a method is, how a client trains, what crosses the wire, how a run is kept."""
