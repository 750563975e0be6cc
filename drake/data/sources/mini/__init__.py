"""The embedded mini suite: procedural worlds that stand in for every source dataset of DRAKE."""
