"""Speed and size, as ratios measured in one run on one machine. Not part of the suite: no test asserts a time."""
