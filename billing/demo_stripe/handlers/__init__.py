"""What the double does for each endpoint that it has, by noun."""
