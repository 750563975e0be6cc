"""Where records come from: the procedural mini suite, the official release, and a user's own data."""
