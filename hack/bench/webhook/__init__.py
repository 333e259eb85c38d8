"""The section `webhook`: our webhook and its comparisons in one run, side by side."""
