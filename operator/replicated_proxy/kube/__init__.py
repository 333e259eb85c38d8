"""The only room that speaks to the API server: requests, listings and watches, raw JSON in and out."""
