"""Makes every Pod of a Replicated application pull its images through the proxy registry."""
