"""`make demo`: the product's whole story on a real cluster, each step checked."""
